# Home Manager: programs.bootstrap, which makes a machine a client of the build server, with synced history.
{ config, lib, pkgs, ... }:
let
  cfg = config.programs.bootstrap;
  # The built-in aliases of `nixbuild aliases`.
  builtinAliases = {
    bt = "nixbuild trigger";
    bs = "nixbuild status";
    bl = "nixbuild logs";
    rebuild = "nixbuild system-update --no-update --no-gc";
    system-update = "nixbuild system-update";
  };
  # Words of the shells themselves, which `nixbuild aliases` refuses.
  reserved = "alias|and|begin|break|builtin|case|command|continue|coproc|do|done|elif|else|end|esac|eval|fi"
    + "|for|foreach|function|if|in|nocorrect|not|or|repeat|return|select|source|switch|then|time|unalias|until|while";
  # Aliases that every shell and Atuin accept. The program refuses others, so Home Manager alone sets them.
  isPortable = name: command:
    builtins.match "[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}" name != null
    && builtins.match reserved name == null
    && builtins.stringLength command <= 4096
    && builtins.match "[^[:cntrl:]]*[^[:cntrl:] ][^[:cntrl:]]*" command != null;
  ownAliases = lib.filterAttrs
    (name: command: builtinAliases.${name} or null != command && isPortable name command)
    cfg.aliases;
in
{
  imports = [ ./build-client.nix ./atuin.nix ./profile.nix ];

  options.programs.bootstrap.aliases = lib.mkOption {
    type = lib.types.attrsOf lib.types.str;
    default = { };
    example = { gs = "git status"; };
    description = ''
      Aliases for every shell, in addition to `bt`, `bs`, `bl`, `rebuild` and `system-update`.
      `nixbuild aliases --sync` copies all of them to machines without Home Manager.
    '';
  };

  config = lib.mkIf cfg.enable {
    programs.bootstrap.buildServer.proxy.enable =
      lib.mkDefault (cfg.profile.cacheProxy && pkgs.stdenv.hostPlatform.isLinux);
    programs.bootstrap.aliases = lib.mapAttrs (_: lib.mkDefault) builtinAliases;
    programs.bootstrap.settings = lib.mkIf (ownAliases != { }) {
      aliases.extra = lib.mapAttrsToList (name: command: "${name}=${command}") ownAliases;
    };
    home.shellAliases = lib.mapAttrs (_: lib.mkDefault) cfg.aliases;
    # Home Manager sets aliases only in the shells that it manages.
    programs.bash.enable = lib.mkDefault true;
  };
}
