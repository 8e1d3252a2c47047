#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build-deb.sh OUT [OPTION...]: the Debian packages of this tree, with their source package, into the
# folder OUT; options go to dpkg-buildpackage. What git does not know of is left out. Afterwards the
# example plugin is made into a package with nothing but what rasad-dev holds.
#
# The build runs in a temporary folder, or in BUILD_FOLDER, which must not be there yet.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$1
shift
mkdir -p "$out"
out=$(cd "$out" && pwd)
[[ -z ${BUILD_FOLDER:-} ]] || mkdir "$BUILD_FOLDER"
folder=$(cd "${BUILD_FOLDER:-$(mktemp -d)}" && pwd)
trap 'rm -rf "$folder"' EXIT

run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    "$@"
}

# The tree as it lies here, with what is changed and not committed, as a tar on standard output.
tree() {
    local commit=HEAD

    cd "$root"
    git update-index -q --refresh || true # or a mere touch counts as a change
    if ! git diff-index --quiet HEAD; then
        # As whoever, since a clean machine knows nobody's name.
        commit=$(GIT_AUTHOR_NAME=build GIT_AUTHOR_EMAIL=build GIT_COMMITTER_NAME=build \
            GIT_COMMITTER_EMAIL=build git stash create)
    fi
    git -c tar.umask=0022 archive --format=tar "$commit"
}

field() {
    dpkg-parsechangelog -l "$root/packaging/debian/changelog" -S "$1"
}

# rasad_VERSION.orig.tar.xz and beside it the tree that dpkg-buildpackage wants.
stage() {
    local version=$1 tree="$folder/rasad-$1"

    mkdir "$tree"
    (tree) | tar -x -p -C "$tree"
    mv "$tree/packaging/debian" "$folder/debian"
    tar -C "$folder" --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner \
        --owner=0 --group=0 --mode=u+rw,go+rX,go-w -cf - "rasad-$version" |
        xz -T1 >"$folder/rasad_$version.orig.tar.xz"
    mv "$folder/debian" "$tree/debian"
}

# with_dev COMMAND...: runs it where /usr has what rasad-dev holds laid over it, so that nothing of this
# machine changes. Mounting is what wants the name space, and the user's own where that is not root.
with_dev() {
    local mounts=(unshare --mount)

    [[ $EUID -eq 0 ]] || mounts+=(--map-root-user)
    # shellcheck disable=SC2016
    "${mounts[@]}" sh -ec 'mount -t overlay -o "lowerdir=$1:/usr" overlay /usr; shift; exec "$@"' \
        with_dev "$folder/dev/usr" "$@"
}

build_example() {
    local tree="$folder/rasad-plugin-peak"

    dpkg-deb -x "$(echo "$folder"/rasad-dev_*.deb)" "$folder/dev"
    if ! with_dev true; then
        echo "SKIPPED: the example plugin was not built, for that must mount an overlay on /usr"
        return 77
    fi
    cp -r "$folder/rasad-$version/packaging/example-plugin" "$tree"
    cd "$tree"
    run with_dev dpkg-buildpackage -us -uc -d # -d: the package itself is not installed
}

version=$(field Version)
version=${version%-*}
SOURCE_DATE_EPOCH=$(field Timestamp)
export SOURCE_DATE_EPOCH
stage "$version"
(cd "$folder/rasad-$version" && run dpkg-buildpackage -us -uc "$@") 2>&1 | tee "$folder/rasad.build"
find "$folder" -maxdepth 1 -type f -exec cp -t "$out" {} +
build_example 2>&1 | tee "$folder/rasad-plugin-peak.build"
find "$folder" -maxdepth 1 -type f -name 'rasad-plugin-peak*' -exec cp -t "$out" {} +
