# nixbuild, built by Meson with nixpkgs' libraries. Without the server commands it is the client, which
# is all that macOS gets.
{ lib
, stdenv
, meson
, ninja
, pkg-config
, boost
, bzip2
, cli11
, coreutils
, curl
, doctest
, fmt
, libsodium
, nlohmann_json
, openssl
, spdlog
, sqlite
, systemd
, tomlplusplus
, util-linux
, xz
, zstd
, withServer ? stdenv.hostPlatform.isLinux
}:
let
  # Only what the build reads, so that editing a document or an end-to-end test does not rebuild it.
  inputs = [ "completions" "man" "meson.build" "meson_options.txt" "src" "systemd" "tests/unit" ];
  root = toString ../.;
  source = builtins.path {
    name = "nixbuild-source";
    path = ../.;
    filter = path: _:
      let relative = lib.removePrefix "${root}/" path; in
      lib.any
        (input: relative == input || lib.hasPrefix "${input}/" relative
          || lib.hasPrefix "${relative}/" input)
        inputs;
  };
  version = builtins.head (builtins.match
    "project\\('nixbuild', 'cpp',[[:space:]]+version: '([^']+)'.*"
    (builtins.readFile ../meson.build));
  feature = name: enabled: "-D${name}=${if enabled then "enabled" else "disabled"}";
in
stdenv.mkDerivation (finalAttrs: {
  pname = "nixbuild";
  inherit version;
  src = source;

  strictDeps = true;
  nativeBuildInputs = [ meson ninja pkg-config ];
  buildInputs = [ cli11 curl fmt libsodium nlohmann_json openssl spdlog tomlplusplus ]
    ++ lib.optionals withServer [ boost bzip2 sqlite systemd xz zstd ];

  mesonBuildType = "release";
  mesonFlags = [
    (feature "server" withServer)
    (feature "systemd" withServer)
    (feature "apparmor" false)
    (feature "tests" finalAttrs.doCheck)
  ];

  # The unit tests. The end-to-end tests need real stores and, in part, root: tools/test runs them.
  doCheck = stdenv.buildPlatform.canExecute stdenv.hostPlatform;
  checkInputs = [ doctest ];
  nativeCheckInputs = lib.optionals withServer [ util-linux ]; # setsid

  postPatch = lib.optionalString withServer ''
    substituteInPlace systemd/*.service.in --replace-quiet /bin/kill ${coreutils}/bin/kill
  '';

  meta = {
    description = "A Nix build server with a signed binary cache, and its clients";
    license = lib.licenses.mit;
    mainProgram = "nixbuild";
    platforms = lib.platforms.unix;
  };
})
