# The program's name selects its command.
exec -a "$(basename "$0")" nixbuild "$@"
