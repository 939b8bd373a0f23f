# `make verify` is the gate: it changes nothing, and is what CI runs. `make fix` changes files.

FMT = cargo fmt --all -- --config unstable_features=true,imports_granularity=Crate,group_imports=StdExternalCrate

.PHONY: verify fix demo bench

verify:
	$(FMT) --check
	cargo metadata --locked --format-version 1 >/dev/null
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps --document-private-items
	cargo test --locked --workspace

fix:
	cargo fmt --all -- --config unstable_features=true,imports_granularity=Crate,group_imports=StdExternalCrate

demo:
	cargo run --locked --release -- demo --exit

bench:
	cargo bench --locked -p antiphon-cli --bench publish
