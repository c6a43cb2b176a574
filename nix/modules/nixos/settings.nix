# NixOS: /etc/nixbuild/config.toml, which clients and servers read.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.nixbuild;
  toml = pkgs.formats.toml { };
in
{
  options.services.nixbuild.settings = lib.mkOption {
    inherit (toml) type;
    default = { };
    example = lib.literalExpression ''
      {
        repository = [{
          name = "nix-terminal";
          url = "https://github.com/Bullish-Design/nix-terminal";
          branch = "dev";
        }];
      }
    '';
    description = "The content of /etc/nixbuild/config.toml; see {manpage}`nixbuild-config(1)`.";
  };

  config = lib.mkIf (cfg.settings != { }) {
    environment.etc."nixbuild/config.toml".source = toml.generate "nixbuild-config.toml" cfg.settings;
  };
}
