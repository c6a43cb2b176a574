# fish completion for nixbuild. What can follow on the line is asked of `nixbuild complete`, so that
# this file cannot disagree with the program.

function __nixbuild_complete
    set -l line (commandline --tokenize --cut-at-cursor --current-process)
    set -l current (commandline --cut-at-cursor --current-token)
    set -l program $line[1]
    string match --quiet --regex -- '(^|/)nixbuild$' $program; or set program nixbuild
    # "--option=" is part of the word that is completed.
    set -l given (string match --regex -- '^--[^=]+=' $current)
    set -l candidates ($program complete -- $line "$current" 2>/dev/null)
    switch "$candidates[1]"
        case :files
            __fish_complete_path (string replace -- "$given" '' $current) | string replace --regex -- '^' "$given"
        case :directories
            __fish_complete_directories (string replace -- "$given" '' $current) '' | string replace --regex -- '^' "$given"
        case '*'
            # A word, a tab, what it is.
            string match --regex -- '^.+\t.*$' $candidates | string replace --regex -- '^' "$given"
    end
end

for name in nixbuild build-trigger build-status build-logs bootstrap-new-machine bt bs bl system-update
    complete --command $name --no-files --keep-order --arguments '(__nixbuild_complete)'
end
