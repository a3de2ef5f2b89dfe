dnl Builds the extension with phpize, ./configure and make, which is how PIE builds from source.
dnl
dnl Owns: finding cargo, and saying what is missing before anything is built. Leaves the building to Cargo
dnl (Makefile.frag), which knows the sources. Assumes the workspace's Cargo.toml one directory up.

PHP_ARG_ENABLE([fanfare],
  [whether to enable Fanfare],
  [AS_HELP_STRING([--enable-fanfare], [Enable the extension fanfare])],
  [yes])

if test "$PHP_FANFARE" != "no"; then
  AC_PATH_PROG([CARGO], [cargo], [], [$PATH:${CARGO_HOME:-$HOME/.cargo}/bin])
  if test -z "$CARGO"; then
    AC_MSG_ERROR([expected cargo, but found none; install Rust 1.88 or newer (https://rustup.rs), or the pre-packaged fanfare.so])
  fi
  if test ! -f "$abs_srcdir/../Cargo.toml"; then
    AC_MSG_ERROR([expected the workspace's Cargo.toml beside this directory, but found none; unpack the whole source])
  fi

  dnl Cargo's result is put where make install looks for modules.
  PHP_SUBST([CARGO])
  PHP_MODULES="\$(phplibdir)/fanfare.so"
  PHP_SUBST([PHP_MODULES])
  PHP_ADD_MAKEFILE_FRAGMENT([$abs_srcdir/Makefile.frag], [$abs_srcdir], [$abs_srcdir])
  PHP_SUBST([INSTALL_MODULES])
  install_modules="install-modules"
  PHP_SUBST([install_modules])
fi
