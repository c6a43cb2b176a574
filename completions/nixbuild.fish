# fish completion for nixbuild. Commands and flags, with what they do, are read from
# `nixbuild ... --help`, so that this file never tells another story than the program.

function __nixbuild_complete
    set -l command
    for word in (commandline --tokenize --cut-at-cursor --current-process)
        string match --quiet -- '-*' $word; and break
        set --append command $word
    end
    # The lists of options and commands; what follows is prose and examples.
    set -l help ($command --help 2>/dev/null | awk '/^(Options|Subcommands):$/ { on = 1; next } /^[^ ]/ { on = 0 } on')
    set -l previous (commandline --tokenize --cut-at-cursor --current-process)[-1]
    # A flag that takes one of a few words shows them in the help: "--compression zstd|xz|none".
    if string match --quiet -- '--*' $previous
        set -l choices (string replace --filter --regex -- "^  $previous ([a-z]+(\|[a-z]+)+)( .*)?\$" '$1' $help)
        if test -n "$choices"
            string split '|' -- $choices
            return
        end
        if string match --quiet --regex -- '^--(.*-)?(file|dir)$|^--config$' $previous
            __fish_complete_path (commandline --current-token)
            return
        end
    end
    string replace --filter --regex -- '^  (-[a-zA-Z],)?(--[a-z-]+|[a-z][a-z-]*)( [^ ]+)? *(.*)$' '$2\t$4' $help
end

complete --command nixbuild --no-files --arguments '(__nixbuild_complete)'
