# The scripts of pkgs.bootstrap-scripts. To add one, put FILE beside this file and a line into the set.
{ pkgs, nixbuild }:
let
  # The shell script FILE as the command NAME, with nixbuild in its PATH.
  mkScript = name: file: pkgs.writeShellApplication {
    inherit name;
    runtimeInputs = [ nixbuild ];
    text = builtins.readFile (./. + "/${file}");
  };
in
{
  build-trigger = mkScript "build-trigger" "command.sh";
  build-status = mkScript "build-status" "command.sh";
  build-logs = mkScript "build-logs" "command.sh";
  system-update = mkScript "system-update" "command.sh";
  bootstrap-new-machine = mkScript "bootstrap-new-machine" "command.sh";
}
