# The image's entrypoint runs this file as the last step of the first start.
rm -f /data/db/.initializing
