# `just verify` changes nothing in the checkout and must be green before a commit lands on main.

export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", "/var/tmp/domicile-target")

# Format check, lints, every test, docs: what CI runs.
verify:
    bash .ci/run

# Applies what can be applied by machine.
fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

# The benchmarks of one node of docs/performance.md, in one run, as ratios to the machine's limits.
bench:
    cargo bench -p domicile-storage --bench log
    cargo bench -p domicile-raft --bench proposals
    cargo bench -p domicile --bench first_node

# Each grant, introspection, userinfo, revocation and the key set beside bare handlers with the same cryptography
# (docs/performance.md); words choose paths, `--quick` only shows that it works.
bench-tokens *words:
    cargo bench -p domicile --bench tokens -- {{words}}

# Every parser at the edge under this many inputs made from its kept corpus.
fuzz cases="200000":
    DOMICILE_FUZZ_CASES={{cases}} cargo test -p domicile-oidc --release hostile -- --nocapture
    DOMICILE_FUZZ_CASES={{cases}} cargo test -p domicile --lib --release hostile -- --nocapture

# The clients of node/tests/foreign, their libraries installed first; a missing one is a failure.
foreign-clients:
    bash node/tests/foreign/install "$CARGO_TARGET_DIR/foreign"
    DOMICILE_FOREIGN=required cargo test -p domicile --test foreign_clients -- --nocapture

# Debian's libapache2-mod-auth-openidc and oidc-agent against a node of this build (installs them; root only).
foreign-debian:
    cargo build -p domicile
    bash node/tests/foreign/debian "$CARGO_TARGET_DIR/debug/domicile"

# Three nodes against etcd (Debian `etcd-server`, `iproute2`, `strace`); sections: writes reads failover wide idle.
bench-cluster *sections:
    cargo bench -p domicile --bench cluster -- {{sections}}

# Power-loss rounds on a loop-mounted file system (root only).
power-loss rounds="200":
    DOMICILE_POWER_LOSS_ROUNDS={{rounds}} cargo test -p domicile-storage --test crash lost_power -- --nocapture

# Kill -9 rounds on a storage process under load.
crash rounds="200":
    DOMICILE_KILL_ROUNDS={{rounds}} cargo test -p domicile-storage --test crash killed -- --nocapture

# Simulated clusters from as many seeds, from `first` on; prints what fails and how to run it again.
simulate seeds="1000" first="0":
    DOMICILE_SIM_SEEDS={{seeds}} DOMICILE_SIM_SEED={{first}} cargo test -p domicile-raft --test simulation seeds -- --nocapture

# Licences, advisories and sources of the dependencies (needs cargo-deny).
deny:
    cargo deny check

# Four short runs: a cluster under faults, a pinned tenant, the same over links in the clear, power cuts; of a fixed seed
# and of a fresh one. The third takes a build for tests.
smoke:
    cargo build -p domicile -p domicile-jepsen --features domicile/seeded-bugs
    ${CARGO_TARGET_DIR}/debug/domicile-jepsen smoke --out ${CARGO_TARGET_DIR}/chaos

# A build with bugs on purpose, each of which the smoke run must find; words choose some.
bugs *names:
    cargo build -p domicile-jepsen
    cargo build -p domicile --features seeded-bugs
    mkdir -p ${CARGO_TARGET_DIR}/seeded && cp ${CARGO_TARGET_DIR}/debug/domicile ${CARGO_TARGET_DIR}/seeded/
    ${CARGO_TARGET_DIR}/debug/domicile-jepsen bugs {{ if names == "" { "" } else { "--only " + replace(names, " ", ",") } }} --binary ${CARGO_TARGET_DIR}/seeded/domicile --out ${CARGO_TARGET_DIR}/chaos
