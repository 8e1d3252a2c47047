#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build-deb.sh OUT [OPTION...]: the Debian packages of this tree, with their source package, into the
# folder OUT; options go to dpkg-buildpackage. What git does not know of is left out. Afterwards the
# example plugin is made into a package with nothing but what rasad-dev holds.
#
# The build runs in a folder of its own, BUILD_FOLDER or a temporary one.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$1
shift
mkdir -p "$out"
out=$(cd "$out" && pwd)
folder=${BUILD_FOLDER:-$(mktemp -d)}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
trap 'rm -rf "$folder"' EXIT
umask 022 # what files of packages are like is not a matter of taste

run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    "$@"
}

# The tree as it lies here, with what is changed and not committed, as a tar on standard output.
tree() {
    local commit

    # As whoever, since a clean machine knows nobody's name. Where nothing is changed there is no
    # commit, which some versions of git take for a failure.
    commit=$(cd "$root" && GIT_AUTHOR_NAME=build GIT_AUTHOR_EMAIL=build GIT_COMMITTER_NAME=build \
        GIT_COMMITTER_EMAIL=build git stash create || true)
    (cd "$root" && git archive --format=tar "${commit:-HEAD}")
}

field() {
    dpkg-parsechangelog -l "$root/packaging/debian/changelog" -S "$1"
}

# rasad_VERSION.orig.tar.xz and beside it the tree that dpkg-buildpackage wants.
stage() {
    local version=$1 tree="$folder/rasad-$1"

    mkdir "$tree"
    tree | tar -x -C "$tree"
    mv "$tree/packaging/debian" "$folder/debian"
    tar -C "$folder" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --format=ustar -cf - "rasad-$version" | xz -T1 >"$folder/rasad_$version.orig.tar.xz"
    mv "$folder/debian" "$tree/debian"
}

# For this build /usr is seen with what rasad-dev has laid over it, so that nothing of this machine
# changes. Mounting is what wants the name space, and the user's own where that is not root.
build_example() {
    local dev="$folder/dev" tree="$folder/rasad-plugin-peak" mounts=(unshare --mount)

    [[ $EUID -eq 0 ]] || mounts+=(--map-root-user)
    dpkg-deb -x "$(echo "$folder"/rasad-dev_*.deb)" "$dev"
    cp -r "$folder/rasad-$version/packaging/example-plugin" "$tree"
    (
        cd "$tree"
        # -d: the package itself is not installed.
        # shellcheck disable=SC2016
        run "${mounts[@]}" sh -ec 'mount -t overlay -o "lowerdir=$1:/usr" overlay /usr
            exec dpkg-buildpackage -us -uc -d' build "$dev/usr"
    )
}

version=$(field Version)
version=${version%-*}
SOURCE_DATE_EPOCH=$(field Timestamp)
export SOURCE_DATE_EPOCH
stage "$version"
(cd "$folder/rasad-$version" && run dpkg-buildpackage -us -uc "$@") 2>&1 | tee "$folder/rasad.build"
build_example 2>&1 | tee "$folder/rasad-plugin-peak.build"
find "$folder" -maxdepth 1 -type f -exec mv -t "$out" {} +
