{
  description = "A Nix build server with a signed binary cache, and its clients";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      # nixpkgs 26.11 dropped x86_64-darwin and throws if asked for it.
      systems = [ "x86_64-linux" "aarch64-linux" "aarch64-darwin" ];
      forEachSystem = make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});

      profiles = [ "laptop" "desktop" "server" ];
      # By path, so that the module system recognises a module that is imported twice.
      module = file: { imports = [ file ]; };
      homeModules = lib.genAttrs profiles (import ./nix/modules/as-profile.nix) // {
        default = module ./nix/modules/default.nix;
        services = module ./nix/modules/services.nix;
        terminal = module ./nix/modules/terminal.nix;
        build-client = module ./nix/modules/build-client.nix;
        atuin-bootstrap = module ./nix/modules/home.nix;
        full = module ./nix/modules/full.nix;
      };
    in
    {
      packages = forEachSystem (pkgs: rec {
        nixbuild = pkgs.callPackage ./nix/package.nix { };
        default = nixbuild;
      } // import ./nix/packages {
        inherit pkgs;
        inherit (self.packages.${pkgs.stdenv.hostPlatform.system}) nixbuild;
      });

      overlays.default = import ./nix/overlay.nix;

      inherit homeModules;
      # The older name, which more flakes use.
      homeManagerModules = homeModules;

      nixosModules = {
        default = module ./nix/modules/nixos/client.nix;
        build-server = module ./nix/modules/nixos/build-server.nix;
      };

      templates = lib.genAttrs profiles (name: {
        path = ./nix/templates + "/${name}";
        description = "Home Manager for a ${name} that uses the build server";
        welcomeText = ''
          Copy secrets.example.nix to secrets.nix and edit it, set the user in home.nix and the system in
          flake.nix, then run `home-manager switch --flake .#default` (in a git repository, add
          `--impure`).
        '';
      });

      formatter = forEachSystem (pkgs: pkgs.nixpkgs-fmt);

      # What the build needs, and the programs that the tests call.
      devShells = forEachSystem (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${pkgs.stdenv.hostPlatform.system}.nixbuild ];
          packages = with pkgs; [
            ccache
            clang-tools
            codespell
            doctest
            git
            nix
            nixpkgs-fmt
            shellcheck
            sqlite
            (python3.withPackages (python: with python; [ pynacl pytest pytest-timeout pytest-xdist ]))
          ];
        };
      });

      # The packages' builds run the unit tests.
      checks = forEachSystem (pkgs:
        let packages = self.packages.${pkgs.stdenv.hostPlatform.system}; in
        packages // {
          formatting = pkgs.runCommand "nixbuild-formatting" { nativeBuildInputs = [ pkgs.nixpkgs-fmt ]; } ''
            nixpkgs-fmt --check ${./flake.nix} ${./nix} ${./examples} ${./tests/nix}
            touch $out
          '';
        } // lib.optionalAttrs pkgs.stdenv.hostPlatform.isLinux {
          client = packages.nixbuild.override { withServer = false; };

          modules =
            let failures = import ./tests/nix/failures.nix { inherit lib pkgs; }; in
            if failures == { } then pkgs.writeText "nixbuild-modules" "all cases hold\n"
            else throw "modules: ${builtins.toJSON failures}";
        });
    };
}
