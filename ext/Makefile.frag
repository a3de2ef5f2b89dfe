# Cargo decides what has to be built anew. The PHP that is asked for its settings is the one that phpize belongs to.
FANFARE_TARGET = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),$(abspath $(srcdir)/../target/pie))

.PHONY: fanfare-cargo
fanfare-cargo:
	cd $(srcdir)/.. && PHP="$(PHP_EXECUTABLE)" PHP_CONFIG="$(or $(PHP_CONFIG),php-config)" \
		$(CARGO) build --release --locked --package fanfare-ext --target-dir "$(FANFARE_TARGET)"

$(phplibdir)/fanfare.so: fanfare-cargo
	@mkdir -p $(phplibdir)
	cp "$(FANFARE_TARGET)/release/libfanfare.so" $@.partial && mv -f $@.partial $@
