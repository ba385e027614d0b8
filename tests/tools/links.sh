#!/usr/bin/env bash
# Checks the relative links of the documents: each points at an existing file, and at a heading of it if it names one;
# docs/src/SUMMARY.md has every page of the book; and the files that CONTRIBUTING.md names exist. Headings have the anchors that GitHub and mdBook make of them.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
documents=(*.md docs/src/*.md crates/*/README.md findings/README.md)

# prose FILE: its lines but for code blocks, each with its number.
prose() { awk '/^ *```/ { code = !code; next } !code { print FNR ":" $0 }' "$1"; }

# links FILE: LINE:TARGET of every link outside of code.
links() {
    # shellcheck disable=SC2016 # backquotes of Markdown
    prose "$1" | sed -E 's/``[^`]*(`[^`]+)*``//g; s/`[^`]*`//g' | awk -F: '{
        line = $1; text = substr($0, length(line) + 2)
        while (match(text, /\]\([^) ]+\)/)) {
            print line ":" substr(text, RSTART + 2, RLENGTH - 3)
            text = substr(text, RSTART + RLENGTH)
        }
    }'
}

# anchors FILE: the anchor of each heading.
anchors() {
    prose "$1" | sed -nE 's/^[0-9]+:#+ +//p' | tr '[:upper:]' '[:lower:]' | sed -E 's/[^a-z0-9 _-]//g; s/ /-/g'
}

failures=0
fail() {
    printf '%s\n' "$*" >&2
    failures=$((failures + 1))
}

count=0
for document in "${documents[@]}"; do
    while IFS=: read -r line target; do
        [[ $target == *://* || $target == mailto:* ]] && continue
        count=$((count + 1))
        path=${target%%#*}
        file=$document
        [[ -z $path ]] || file=$(dirname "$document")/$path
        if [[ ! -e $file ]]; then
            fail "$document:$line: $target: there is no file $path"
        elif [[ $target == *#* ]] && ! anchors "$file" | grep -qxF -- "${target#*#}"; then
            fail "$document:$line: $target: the file has no such heading"
        fi
    done < <(links "$document")
done
for page in docs/src/*.md; do
    name=${page##*/}
    [[ $name == SUMMARY.md ]] || grep -qF "($name)" docs/src/SUMMARY.md ||
        fail "docs/src/SUMMARY.md: the page $name is missing"
done
# Names in capitals are for the reader to replace.
# shellcheck disable=SC2016 # backquotes of Markdown
while read -r path; do
    [[ $path =~ (NAME|AREA|^target/) || ! -d ${path%%/*} || -e $path ]] || fail "CONTRIBUTING.md: there is no $path"
done < <(grep -oE '`[a-z][^` ]*/[^` ]+`' CONTRIBUTING.md | tr -d '`')

((count)) || fail "no link was found: is this the folder of the project?"
((failures == 0)) || exit 1
printf '%d links of %d documents\n' "$count" "${#documents[@]}"
