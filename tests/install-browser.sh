#!/bin/sh
# Sees to it that there is a Chromium for the tests of pages, where that can be done without asking.
# Without one they are skipped, which only continuous integration (CI=true) takes for an error.

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install() {
    command -v apt-get || return
    as_root true || return
    as_root apt-get update || return
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium
}

if log=$(install 2>&1 </dev/null) && command -v chromium >/dev/null; then
    exit 0
fi
echo "tests of pages will be skipped: there is no Chromium, and it could not be installed" >&2
if [ "${CI:-}" = true ]; then
    echo "$log" >&2
    exit 1
fi
