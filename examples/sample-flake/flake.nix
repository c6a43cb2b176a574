{
  description = "A program and the text it prints, built by /bin/sh alone: no inputs, no network";

  outputs = { self }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "i686-linux" "armv7l-linux" "riscv64-linux" ];
      forEachSystem = make:
        builtins.listToAttrs (map (system: { name = system; value = make system; }) systems);

      # A package that `sh` builds by running `script`.
      shell = system: name: script: derivation {
        inherit name system;
        builder = "/bin/sh";
        args = [ "-euc" script ];
        PATH = "/usr/bin:/bin:/run/current-system/sw/bin";
      };
    in
    {
      packages = forEachSystem (system: rec {
        default = hello;

        greeting = shell system "greeting-1.0" ''
          mkdir "$out"
          echo "Hello from a package that one machine built and another one fetched." > "$out/text"
        '';

        # Looks for the greeting in the store that it is itself in, wherever that is.
        hello = shell system "hello-1.0" ''
          mkdir -p "$out/bin"
          cat > "$out/bin/hello" <<'END'
          #!/bin/sh
          store=$(dirname "$(dirname "$(dirname "$0")")")
          cat "$store/${baseNameOf greeting}/text"
          END
          chmod +x "$out/bin/hello"
        '';
      });
    };
}
