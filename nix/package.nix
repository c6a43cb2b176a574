# nixbuild, built by Meson from nixpkgs' libraries. Without the server it is the client, and that is
# all there is of it on macOS.
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
, fmt
, libsodium
, nlohmann_json
, openssl
, spdlog
, sqlite
, systemd
, tomlplusplus
, xz
, zstd
, withServer ? stdenv.hostPlatform.isLinux
}:
let
  # Only what the build reads, so that a change of a test or a document does not rebuild it.
  inputs = [ "completions" "man" "meson.build" "meson_options.txt" "src" "systemd" ];
  root = toString ../.;
  source = builtins.path {
    name = "nixbuild-source";
    path = ../.;
    filter = path: _:
      let relative = lib.removePrefix "${root}/" path; in
      lib.any (input: relative == input || lib.hasPrefix "${input}/" relative) inputs;
  };
  version = builtins.head (builtins.match
    "project\\('nixbuild', 'cpp',[[:space:]]+version: '([^']+)'.*"
    (builtins.readFile ../meson.build));
  feature = name: enabled: "-D${name}=${if enabled then "enabled" else "disabled"}";
in
stdenv.mkDerivation {
  pname = "nixbuild";
  inherit version;
  src = source;

  strictDeps = true;
  nativeBuildInputs = [ meson ninja pkg-config ];
  buildInputs = [ cli11 curl fmt libsodium nlohmann_json openssl spdlog tomlplusplus ]
    ++ lib.optionals withServer [ boost bzip2 sqlite systemd xz zstd ];

  mesonBuildType = "release";
  # The tests want real stores and, for a part, root: tools/test runs them.
  mesonFlags = [ (feature "server" withServer) (feature "systemd" withServer) (feature "tests" false) ];

  postPatch = lib.optionalString withServer ''
    substituteInPlace systemd/*.service.in --replace-quiet /bin/kill ${coreutils}/bin/kill
  '';

  meta = {
    description = "A Nix build server with a signed binary cache, and its clients";
    license = lib.licenses.mit;
    mainProgram = "nixbuild";
    platforms = lib.platforms.unix;
  };
}
