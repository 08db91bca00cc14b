#!/bin/sh
# The root file system of a base image, made from Debian's packages where no registry can be reached.
#
#   base.sh ARCHITECTURE FOLDER      e.g. base.sh arm64 /tmp/base -> /tmp/base/rootfs.tar
#
# It holds this machine's certificate authorities, so no image built on it may be published.
set -eu
architecture=$1 folder=$2
mkdir -p "$folder"
python3 -m pip download --quiet --no-deps --dest "$folder" pip
pip=$(ls "$folder"/pip-*.whl)

cat > "$folder/customize.sh" <<HOOK
#!/bin/sh
set -eu
root=\$1
site=\$root/usr/local/lib/python3.11/dist-packages
mkdir -p "\$site" "\$root/etc/ssl/certs"
python3 -m zipfile -e "$pip" "\$site"
ln -sf /usr/bin/python3 "\$root/usr/local/bin/python"
printf '#!/bin/sh\nexec python3 -m pip "\$@"\n' > "\$root/usr/local/bin/pip"
chmod 755 "\$root/usr/local/bin/pip"
cp -L /etc/ssl/certs/ca-certificates.crt "\$root/etc/ssl/certs/ca-certificates.crt"
rm -f "\$root"/usr/lib/python3*/EXTERNALLY-MANAGED
rm -rf "\$root"/var/lib/apt/lists/* "\$root"/var/cache/* "\$root"/var/log/*
HOOK
chmod 755 "$folder/customize.sh"

# Python's slim image has neither manuals nor translations either, but every licence.
mmdebstrap --quiet --architectures="$architecture" --variant=essential \
  --include=python3,libstdc++6,usr-is-merged \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/i18n/*' \
  --customize-hook="$folder/customize.sh" \
  bookworm "$folder/draft.tar" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
mv "$folder/draft.tar" "$folder/rootfs.tar"
