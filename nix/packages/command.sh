# The program tells by its name which of its commands is meant.
exec -a "$(basename "$0")" nixbuild "$@"
