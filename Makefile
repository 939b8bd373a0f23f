# `make verify` is the gate: it changes nothing, and is what CI runs. `make fix` changes files.

FMT = cargo fmt --all -- --config unstable_features=true,imports_granularity=Crate,group_imports=StdExternalCrate

.PHONY: verify fix demo bench bench-short sim adversary closed mutations faults hostile

verify:
	$(FMT) --check
	cargo metadata --locked --format-version 1 >/dev/null
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps --document-private-items
	cargo test --locked --workspace

fix:
	$(FMT)

demo:
	cargo run --locked --release -- demo --exit

# Real faults on real processes; some want root, strace and loop devices, and are skipped without.
faults:
	ANTIPHON_FAULTS=1 ANTIPHON_FAULTS_REPORT=docs/faults.md cargo test --locked --workspace --test faults

# Peers that mean harm, against real processes of the program as people run it; some minutes.
hostile:
	cargo build --locked --release --bin antiphon
	ANTIPHON_PROGRAM=target/release/antiphon ANTIPHON_HOSTILE=1 ANTIPHON_HOSTILE_REPORT=docs/hostile.md \
		cargo test --locked --workspace --test hostile

# The figures of docs/performance.md; some minutes on a quiet machine.
bench:
	cargo run --locked --release -- bench all --rounds 5

# Every case with a hundredth of the work, and the comparison with others: that they work, not how fast.
bench-short:
	cargo run --locked --release -- bench all --short --json
	cargo run --locked --release -- bench publish --short --json --plot target/plots --csv target/figures.csv
	benches/compare/run --short --json

# Seeds of the simulation, beyond the few that every `cargo test` runs; see docs/simulation.md.
SEEDS ?= 1000
sim:
	SEEDS=$(SEEDS) cargo test --locked --profile sim -p antiphon --test simulation sweep::sweep -- --exact --nocapture

# The same among liars: make adversary SEEDS=1000
adversary:
	SEEDS=$(SEEDS) cargo test --locked --profile sim -p antiphon --test simulation adversary::sweep -- --exact --nocapture

# The same of closed networks: make closed SEEDS=1000
closed:
	SEEDS=$(SEEDS) cargo test --locked --profile sim -p antiphon --test simulation closed::sweep -- --exact --nocapture

# Whether the simulation finds each planted bug; the program has none of them.
mutations:
	tests/planted/run test
