# The options that name the build server and further caches, for Home Manager and NixOS alike.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  inherit (import ./caches.nix { inherit lib; }) cacheUrl;
  cfg = config.programs.bootstrap;
in
{
  options.programs.bootstrap = {
    enable = lib.mkEnableOption "the build server's commands and what is chosen below";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ../package.nix { };
      defaultText = lib.literalExpression "pkgs.nixbuild";
      description = "The nixbuild to install.";
    };

    buildServer = {
      enable = lib.mkEnableOption "the build server as a binary cache";

      address = mkOption {
        type = types.str;
        default = "build-server";
        example = "build-server.tailnet-name.ts.net:8000";
        description = "The server: HOST, HOST:PORT or a URL. PORT is the build API's, 8000 without one.";
      };

      cacheUrl = mkOption {
        type = types.str;
        default = cacheUrl cfg.buildServer.address;
        defaultText = lib.literalMD "port 5000 of the server's host";
        description = "Where the server's binary cache is.";
      };

      publicKey = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "build-server-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        description = ''
          The key that the server signs with, as `nixbuild keys show` prints it. Without one Nix takes
          nothing from the server.
        '';
      };
    };

    additionalCaches = mkOption {
      type = types.listOf (types.coercedTo types.str (url: { inherit url; }) (types.submodule {
        options = {
          url = mkOption {
            type = types.str;
            description = "The cache's URL.";
          };
          publicKey = mkOption {
            type = types.nullOr types.str;
            default = null;
            description = "The key that it signs with, where that is not one which is trusted already.";
          };
        };
      }));
      default = [ ];
      example = [ "http://other-cache:5000" ];
      description = "Further binary caches: a URL, or a URL and a key.";
    };
  };
}
