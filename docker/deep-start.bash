# Bash reads this before each script (BASH_ENV). The script deep-start starts deepaas-run and waits for it, but
# hands no signal on. With this, deepaas-run takes the place of the script, so that SIGTERM reaches it.
case "$0" in
*deep-start*)
    deepaas-run() { exec deepaas-run "$@"; }
    ;;
esac
