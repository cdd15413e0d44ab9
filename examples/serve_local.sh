#!/bin/sh
# Two llama.cpp servers of unequal speed and a gateway in front of them, on this machine.
#
#     sh examples/serve_local.sh model.gguf [AGENT]
#
# Needs llama-server (https://github.com/ggml-org/llama.cpp) and edgecloud-gym[agents,data,serve].
# Ctrl-C stops all three.
set -eu

model=${1:?usage: sh examples/serve_local.sh model.gguf [AGENT]}
agent=${2:-join-shortest-queue}
folder=$(mktemp -d)
pids=""
trap 'kill $pids 2>/dev/null; rm -r "$folder"' EXIT
trap exit INT TERM

# As many sequences at a time as the engine model below says.
for node in "8081 2" "8082 1"; do # port, threads
    set -- $node
    llama-server --model "$model" --port "$1" --parallel 16 --threads "$2" --ctx-size 32768 \
        >"$folder/$1.log" 2>&1 &
    pids="$pids $!"
done

# How fast they are is taken from a bundled model here. `edgecloud profile --endpoint ...
# --concurrency 1,2,4 --engine edge-a.json` measures it.
cat >"$folder/cluster.yaml" <<'NODES'
nodes:
  - {kind: engine, name: edge-a, url: "http://127.0.0.1:8081", model: smollm2-135m-cpu, backlog: 4}
  - {kind: engine, name: edge-b, url: "http://127.0.0.1:8082", model: smollm2-135m-cpu, backlog: 2}
NODES

edgecloud serve --nodes "$folder/cluster.yaml" --agent "$agent"
