# The lines that load the aliases which Atuin syncs, for each shell's interactive startup. The program
# reads a copy that it refreshes in the background, and prints nothing if there is none.
package:
let
  command = shell: "${package}/bin/nixbuild aliases --shell ${shell} --from-atuin";
in
{
  bash = ''eval "$(${command "bash"})"'';
  zsh = ''eval "$(${command "zsh"})"'';
  fish = "${command "fish"} | source";
}
