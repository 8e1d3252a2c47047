#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check-deb.sh CHECK FOLDER: looks at the packages that build-deb.sh has put into FOLDER. CHECK is
#   lint          lintian: no error, no warning
#   flags         blhc: no compiler was called without the flags that harden
#   hardening     hardening-check: what is in the packages came out hardened
#   exposure      systemd-analyze: no unit is more exposed than 1.5 of 10
#   versions      the changelogs and CMakeLists.txt tell of one version
#   reproducible  another build, in another folder, umask, time zone and home, gives the same packages

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

die() {
    printf 'check-deb: %s\n' "$*" >&2
    exit 1
}

run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    "$@"
}

# Every program and shared object of the packages, and their units, below the folder $scratch.
unpack() {
    local deb

    for deb in "$folder"/*.deb; do
        case $deb in
        *-dbgsym_*) ;;
        *) dpkg-deb -x "$deb" "$scratch" ;;
        esac
    done
}

check_lint() {
    local changes

    for changes in "$folder"/*.changes; do
        run lintian --allow-root -EvIL +pedantic --fail-on error,warning "$changes"
    done
}

check_flags() {
    run blhc --debian "$folder"/*.build
}

# Whether a file has these properties; what else the tool looks for depends on its version, on the
# architecture, and on Debian's own start-up objects, which are linked into everything.
demand() {
    local file=$1 report property

    shift
    report=$(hardening-check "$file" || true)
    for property in "$@"; do
        grep -q "^ $property: yes" <<<"$report" || die "$file: not so: $property"
    done
    printf '%s: %s\n' "${file#"$scratch"}" "$(printf '%s; ' "$@")"
}

# Shared objects are no programs, so PIE says nothing of them; and what has no buffer on its stack, and
# calls nothing that could be fortified, as small plugins, shows neither.
check_hardening() {
    local programs=0 objects=0 file

    unpack
    while IFS= read -r -d '' file; do
        case $(file -b "$file") in
        ELF*"shared object"*)
            demand "$file" "Read-only relocations" "Immediate binding"
            objects=$((objects + 1))
            ;;
        ELF*)
            demand "$file" "Position Independent Executable" "Stack protected" \
                "Fortify Source functions" "Read-only relocations" "Immediate binding"
            programs=$((programs + 1))
            ;;
        esac
    done < <(find "$scratch" -type f -print0 | sort -z)
    [[ $programs -ge 4 && $objects -gt 0 ]] || die "$programs programs and $objects objects in $folder"
}

check_exposure() {
    local unit count=0

    unpack
    for unit in "$scratch"/lib/systemd/system/*.service "$scratch"/usr/lib/systemd/system/*.service; do
        [[ -e $unit ]] || continue
        run systemd-analyze security --offline=yes --threshold=15 --no-pager "$unit" | tail -n 1
        count=$((count + 1))
    done
    [[ $count -eq 2 ]] || die "$count services in $folder instead of 2"
}

# The version that a file tells of, by an expression of sed; a part after a dash is Debian's own.
check_versions() {
    local root=$here/.. project

    project=$(sed -n 's/^project(rasad VERSION \([0-9.]*\) .*/\1/p' "$root/CMakeLists.txt")
    [[ -n $project ]] || die "CMakeLists.txt tells of no version"
    [[ $(sed -n '1s/^rasad (\([0-9.]*\)-.*/\1/p' "$here/debian/changelog") == "$project" ]] ||
        die "packaging/debian/changelog does not begin with version $project, as CMakeLists.txt says"
    [[ $(sed -n 's/^## \[\([0-9.]*\)\].*/\1/p' "$root/CHANGELOG.md" | head -n 1) == "$project" ]] ||
        die "CHANGELOG.md's last release is not $project, as CMakeLists.txt says"
    [[ -e $folder/rasad_$project.orig.tar.xz ]] || die "$folder has no packages of version $project"
    echo "version $project everywhere"
}

check_reproducible() {
    local again="$scratch/again" file

    mkdir "$scratch/home" "$scratch/elsewhere"
    (
        umask 002
        TZ=Pacific/Kiritimati HOME="$scratch/home" LC_ALL=C.UTF-8 \
            BUILD_FOLDER="$scratch/elsewhere/of-a-rather-longer-name" \
            DEB_BUILD_OPTIONS="nocheck ${DEB_BUILD_OPTIONS:-}" "$here/build-deb.sh" "$again" -F
    ) >"$scratch/log" 2>&1 || {
        cat "$scratch/log"
        die "the second build failed"
    }
    for file in "$again"/*.deb "$again"/*.tar.* "$again"/*.dsc; do
        run cmp "$file" "$folder/${file##*/}"
    done
}

[[ $# -eq 2 && -d $2 ]] || die "usage: check-deb.sh CHECK FOLDER"
folder=$(cd "$2" && pwd)
case $1 in
lint | flags | hardening | exposure | versions | reproducible) "check_$1" ;;
*) die "unknown check \"$1\"" ;;
esac
