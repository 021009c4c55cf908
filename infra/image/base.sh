#!/usr/bin/env bash
# Make the image's base from Debian's packages, for machines that reach no image registry: base.sh FILE.tar [,PACKAGE,…]
#
# debootstrap checks the signature of Debian's release. The mirror serves the newest versions only, so the tar is cached,
# and the SBOM lists the version of each package in it. Man pages, documentation, translations and apt's lists are left
# out. Licences stay.
set -euo pipefail
target=$1 more=${2:-} root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase "--include=python3,python3-venv,ca-certificates$more" trixie "$root" >"$root.log" 2>&1 \
  || { tail -n 20 "$root.log" >&2; exit 1; }
chmod 755 "$root"
rm -f "$root.log"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/{man,info,locale}/*
find "$root/usr/share/doc" \( -type f -o -type l \) ! -name copyright -delete
find "$root/usr/lib/python3" "$root"/usr/lib/python3.* -name __pycache__ -prune -exec rm -rf {} +
mkdir -p "$(dirname "$target")"
tar --create --sort=name --numeric-owner --exclude='./dev/*' --directory "$root" --file "$target.new" .
mv "$target.new" "$target"
