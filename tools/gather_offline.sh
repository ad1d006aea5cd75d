#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Gathers into offline/ what a GPU machine without network needs: the C++ libraries (no Python ABI in them) and an install script that compiles
# only py/bindings. The other machine needs g++, cmake, Python with torch >= 2.11 and pybind11.
#   tools/gather_offline.sh [build folder, default build/pip]
set -euo pipefail
cd "$(dirname "$0")/.."
build="${1:-build/pip}"
mkdir -p offline/lib
for name in libtuyere_runtime.so libtuyere_kernels_cpu.so libtuyere_builder.so libtuyere_torch.so libhwy.so.1; do
  cp "$build/lib/$name" offline/lib/
  strip --strip-unneeded "offline/lib/$name"
done
cat > offline/install.sh <<'EOS'
#!/usr/bin/env bash
# Run in the checkout's root: bash offline/install.sh [target folder for the Python package]
set -euo pipefail
cd "$(dirname "$0")/.."
target="${1:-$PWD/offline/site}"
cmake -S . -B offline/build -DTUYERE_PREBUILT="$PWD/offline/lib" -DPython_EXECUTABLE="$(command -v python3)" -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build offline/build --parallel
mkdir -p "$target"
cp -r py/tuyere "$target/"
mkdir -p "$target/tuyere/_lib"
cp offline/lib/* "$target/tuyere/_lib/"
cp offline/build/lib/_tuyere*.so "$target/tuyere/"
mkdir -p "$target/tuyere-0.1.0.dist-info"
printf 'Metadata-Version: 2.1\nName: tuyere\nVersion: 0.1.0\n' > "$target/tuyere-0.1.0.dist-info/METADATA"
printf '[torch_dynamo_backends]\ntuyere = tuyere.backend:tuyere\n' > "$target/tuyere-0.1.0.dist-info/entry_points.txt"
echo "installed; add to PYTHONPATH: $target"
EOS
chmod +x offline/install.sh
du -sh offline
