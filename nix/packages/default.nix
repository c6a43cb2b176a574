# The scripts in pkgs.bootstrap-scripts. To add one, create FILE in this folder and add a line to the set.
{ pkgs, nixbuild }:
let
  # Installs the shell script FILE as command NAME, with nixbuild in its PATH.
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
