"""Completion in zsh and fish. click's own scripts lose the option of `--set=FIELD=`, have zsh put a blank behind
`FIELD=`, and cut what fish tells of a value at its first comma."""

from click.shell_completion import CompletionItem, FishComplete, ZshComplete

ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a response whole begun
    local type value about none=1
    (( ! $+commands[%(prog_name)s] )) && return 1
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \\
        %(complete_var)s=zsh_complete %(prog_name)s)}")
    for type value about in ${response}; do
        case $type in
            dir|file)
                [[ $words[CURRENT] == --*=* ]] && compset -P '--*='
                if [[ $type == dir ]]; then _path_files -/; else _path_files -f; fi && none=0
                ;;
            plain)
                [[ $about != _ ]] && about="$value:$about" || about=$value
                [[ $value == *[=/] ]] && begun+=("$about") || whole+=("$about")
                ;;
        esac
    done
    (( $#whole )) && _describe -V unsorted whole -U && none=0
    (( $#begun )) && _describe -V unsorted begun -U -S '' && none=0
    return none
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
"""Of a value that goes on, no blank follows."""

FISH = """\
function %(complete_func)s
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp | string collect) \\
        COMP_CWORD=(commandline -ct | string collect) %(prog_name)s)
    for completion in $response
        set -l parts (string split -m 1 "," -- $completion)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case plain
                echo $parts[2]
        end
    end
end

complete --no-files --keep-order --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


def joined(typed: str, value: str) -> int:
    """How much of the word that was typed stands before what `value` completes: all up to the `=` of an option."""
    return next(start for start in range(len(typed) + 1) if value.startswith(typed[start:]))


class _Words:
    """What is common: words are told as they will stand in the line."""

    typed = ""
    """The last word, up to the cursor."""

    def whole(self, item: CompletionItem) -> str:
        """The word that an item completes, its option included. Files are completed by the shell."""
        value = str(item.value)
        return self.typed[: joined(self.typed, value)] + value if item.type == "plain" else value


class Zsh(_Words, ZshComplete):
    """Three lines a value."""

    source_template = ZSH

    def get_completion_args(self) -> tuple[list[str], str]:
        arguments, self.typed = super().get_completion_args()
        return arguments, self.typed

    def format_completion(self, item: CompletionItem) -> str:
        value = self.whole(item).replace(":", "\\:")  # what stands behind a colon tells of the value
        return f"{item.type}\n{value}\n{item.help or '_'}"


class Fish(_Words, FishComplete):
    """A line a value, and behind a tab what is told of it."""

    source_template = FISH

    def get_completion_args(self) -> tuple[list[str], str]:
        arguments, self.typed = super().get_completion_args()
        return arguments, self.typed

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{self.whole(item)}" + (f"\t{item.help}" if item.help else "")
