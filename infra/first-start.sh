# Sourced by the start scripts of MySQL and MongoDB, with their `data` folder and `root_password`.
#
# The images take a data folder for complete as soon as it exists. A first start that was interrupted would leave a server
# without accounts, so it is repeated: `.initializing` marks it. Its remains are moved and not deleted, because they may
# be a backup that was copied over them.

if [[ -e $data/.initializing ]]; then
    remains=$(mktemp -d "$data/.interrupted.XXXXXX")
    find "$data" -mindepth 1 -maxdepth 1 ! -name '.interrupted.*' -exec mv -t "$remains" {} +
    echo "The first start was interrupted; it is repeated. What it left is in $remains, which you may delete."
fi
if [[ -z $(find "$data" -mindepth 1 -maxdepth 1 ! -name '.interrupted.*') ]]; then
    # The image makes the password part of a statement.
    if [[ $root_password == *[!A-Za-z0-9._-]* ]]; then
        echo "The password of root may contain letters, digits, '.', '_' and '-' only" >&2
        exit 1
    fi
    touch "$data/.initializing"
fi
