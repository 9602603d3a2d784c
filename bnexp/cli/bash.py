"""Completion in bash, which breaks words at = and : by itself, and wants only what stands behind the break.

click's own class takes the pieces for words, and so completes nothing after `--set FIELD=`, nor after a URL's colon.
"""

import os
import re

from click.shell_completion import BashComplete, CompletionItem, split_arg_string

from bnexp.cli.shells import joined

SOURCE = """\
%(complete_func)s() {
    local response type value
    response=$(env COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_WORD="$2" %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("$value")
                [[ $value == *[=/] ]] && compopt -o nospace
                ;;
        esac
    done <<< "$response"
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""
"""The line is told up to the cursor, and what of it readline will replace."""


PLAIN = re.compile(r"[\w.=/:,+@%-]*")
"""What bash takes as it stands. It inserts completions unquoted, so another name could be a command."""


class Bash(BashComplete):
    """Words as a person sees them, from the line."""

    source_template = SOURCE
    typed = ""
    """The last word, up to the cursor."""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        self.typed = "" if not words or line[-1:].isspace() else words.pop()
        return words, self.typed

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        found = super().get_completions(args, incomplete)
        return [item for item in found if item.type != "plain" or PLAIN.fullmatch(item.value)]

    def format_completion(self, item: CompletionItem) -> str:
        """Of a value that goes on with what is typed, what stands in the place of readline's word."""
        word = os.environ["COMP_WORD"].lstrip("\"'")
        kept = max(0, len(self.typed) - joined(self.typed, item.value) - len(word))
        return f"{item.type},{item.value[kept:]}"
