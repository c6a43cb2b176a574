# The options for the build server and further caches, shared by Home Manager and NixOS.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  inherit (import ./caches.nix { inherit lib; }) cacheUrl;
  cfg = config.programs.bootstrap;
in
{
  options.programs.bootstrap = {
    enable = lib.mkEnableOption "the build server's commands, and what the options below enable";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ../package.nix { };
      defaultText = lib.literalExpression "pkgs.nixbuild";
      description = "The nixbuild package to install.";
    };

    buildServer = {
      enable = lib.mkEnableOption "the build server as a binary cache";

      address = mkOption {
        type = types.str;
        default = "build-server";
        example = "build-server.tailnet-name.ts.net:8000";
        description = "The server: HOST, HOST:PORT or a URL. PORT is the build API's (default: 8000).";
      };

      cacheUrl = mkOption {
        type = types.str;
        default = cacheUrl cfg.buildServer.address;
        defaultText = lib.literalMD "port 5000 of the server's host";
        description = "URL of the server's binary cache.";
      };

      publicKey = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "build-server-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        description = ''
          The server's public key, as `nixbuild keys show` prints it. Without it, Nix does not use the
          server's cache.
        '';
      };

      peer.enable = lib.mkEnableOption ''
        serving other machines of the tailnet what the build server has signed of this machine's store, and
        nothing that was built here (Linux only)'';

      proxy.enable = lib.mkEnableOption ''
        a proxy on this machine, which Nix asks in the place of the caches, and which never waits for one
        that is away (Linux only)'';
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
            description = "The cache's public key, unless Nix trusts it already.";
          };
        };
      }));
      default = [ ];
      example = [ "http://other-cache:5000" ];
      description = "Further binary caches: URLs, or URLs with keys.";
    };
  };
}
