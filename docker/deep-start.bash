# Bash reads this before each script (BASH_ENV). The script deep-start starts deepaas-run or JupyterLab and waits for
# it, but hands no signal on. With this, the program takes the place of the script, so that SIGTERM reaches it.
case "$0" in
*deep-start*)
    deepaas-run() { exec deepaas-run "$@"; }
    jupyter() { exec jupyter "$@"; }
    ;;
esac
