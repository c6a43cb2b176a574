{
  description = "A Nix build server with a signed binary cache, and the machines that use it";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      # nixpkgs 26.11 has given up Macs with Intel's processors, and throws when asked for one.
      systems = [ "x86_64-linux" "aarch64-linux" "aarch64-darwin" ];
      forEachSystem = make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});

      profiles = [ "laptop" "desktop" "server" ];
      # A path tells modules that are imported twice, once by themselves, to be one and the same.
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
      # The older of the two names, which more flakes use.
      homeManagerModules = homeModules;

      nixosModules = {
        default = module ./nix/modules/nixos/client.nix;
        build-server = module ./nix/modules/nixos/build-server.nix;
      };

      templates = lib.genAttrs profiles (name: {
        path = ./nix/templates + "/${name}";
        description = "Home Manager for a ${name} that uses the build server";
        welcomeText = ''
          Make secrets.nix from secrets.example.nix, set the user in home.nix and the system in
          flake.nix, then: `home-manager switch --flake .#default` (in git: with `--impure`).
        '';
      });

      checks = forEachSystem (pkgs: self.packages.${pkgs.stdenv.hostPlatform.system}
        // lib.optionalAttrs pkgs.stdenv.hostPlatform.isLinux {
        modules =
          let failures = import ./tests/nix/failures.nix { inherit lib pkgs; }; in
          if failures == { } then pkgs.writeText "modules" "as they are to be\n"
          else throw "modules: ${builtins.toJSON failures}";
      });
    };
}
