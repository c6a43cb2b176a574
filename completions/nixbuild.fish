# fish completion for nixbuild. Commands and flags, with what they do, are read from
# `nixbuild ... --help`, so that this file never tells another story than the program; repositories
# and builds come from the server.

# Lists what the server lists: repositories or builds.
function __nixbuild_ask --argument-names kind
    set -l line (commandline --tokenize --cut-at-cursor --current-process)
    set -l program $line[1]
    string match --quiet --regex -- '(^|/)nixbuild$' $program; or set program nixbuild
    # A word, a tab, what it is.
    $program complete $kind $line[2..-1] 2>/dev/null | string match --regex -- '^.+\t.*$'
end

# Lists what stands for such a value: its name is that of the help.
function __nixbuild_value --argument-names value
    switch $value
        case 'REPO|ID'
            __nixbuild_ask repositories
            __nixbuild_ask builds
        case REPO
            __nixbuild_ask repositories
        case ID
            __nixbuild_ask builds
        case FILE
            __fish_complete_path (commandline --current-token)
        case DIR
            __fish_complete_directories (commandline --current-token) ''
        case '*|*'
            # A flag that takes one of a few words shows them: "--compression zstd|xz|none".
            string match --quiet --regex -- '^[a-z]' $value; and string split '|' -- $value
    end
end

function __nixbuild_complete
    set -l command
    for word in (commandline --tokenize --cut-at-cursor --current-process)
        string match --quiet -- '-*' $word; and break
        set --append command $word
    end
    set -l previous (commandline --tokenize --cut-at-cursor --current-process)[-1]
    set -l given (string match --regex -- '^(--[^=]+)=' (commandline --current-token))
    test -n "$given[2]"; and set previous $given[2]
    set -l section
    set -l entries
    set -l arguments
    for line in ($command --help 2>/dev/null)
        switch $line
            case Options: Subcommands: Positionals:
                set section $line
                continue
        end
        string match --quiet --regex -- '^[^ ]' $line; and set section
        # "  --flag VALUE", "  -f,--flag", "  command", "  ARGUMENT", and what it does.
        set -l part (string match --regex -- '^  ((?:-[a-zA-Z],)?)([^ ]+)((?: [^ ]+)?) *(.*)$' $line)
        or continue
        switch "$section"
            case Positionals:
                set --append arguments $part[3]
            case Options: Subcommands:
                set --append entries $part[3]\t$part[5]
                if string match --quiet -- '-*' $previous; and contains -- $previous (string trim --chars , -- $part[2]) $part[3]; and test -n "$part[4]"
                    # "--flag=" is part of the word that is completed.
                    string replace --regex -- '^' "$given[1]" (__nixbuild_value (string trim -- $part[4]))
                    return
                end
        end
    end
    if set --query arguments[1]; and not string match --quiet -- '-*' (commandline --current-token)
        for argument in $arguments
            __nixbuild_value $argument
        end
        return
    end
    printf '%s\n' $entries
end

for name in nixbuild build-trigger build-status build-logs bootstrap-new-machine bt bs bl system-update
    complete --command $name --no-files --keep-order --arguments '(__nixbuild_complete)'
end
