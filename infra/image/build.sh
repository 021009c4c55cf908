#!/usr/bin/env bash
# Build the image auditsplit:VERSION with buildah, without a daemon and without an image registry: build.sh BASE.tar
#
# base.sh makes BASE.tar. The images are stored in the folder storage beside it. The build runs as root.
# Its pip trusts this machine's certificates, because a registry may be reached through a proxy of the machine's own.
set -euo pipefail
cd "$(dirname "$0")/../.."
tar=$(realpath "$1") folder=$(dirname "$(realpath "$1")")
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' functions/auditsplit/__init__.py)
buildah=(buildah --root "$folder/storage" --runroot "$folder/run")
base=auditsplit-base:$(sha256sum "$tar" | cut -c 1-16)

if ! "${buildah[@]}" inspect --type image "$base" >/dev/null 2>&1; then
  container=$("${buildah[@]}" from scratch)
  "${buildah[@]}" add --quiet "$container" "$tar" / >/dev/null
  "${buildah[@]}" config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  "${buildah[@]}" commit --quiet --rm "$container" "$base" >/dev/null
fi
"${buildah[@]}" build --isolation chroot --network host --format docker --layers --quiet \
  --volume /etc/ssl/certs:/etc/ssl/certs:ro --build-arg "BASE=localhost/$base" --build-arg "VERSION=$version" \
  --tag "auditsplit:$version" .
for image in "auditsplit:$version" "$base"; do
  "${buildah[@]}" images --noheading --format '{{.Name}}:{{.Tag}} {{.Size}}' "localhost/$image"
done
