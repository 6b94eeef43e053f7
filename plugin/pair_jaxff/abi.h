// What the C++ pair style and jaxff/lammps/bridge.py say to each other. Lengths are in Å, energies in eV.
// Every change here is made in bridge.py too, and raises JAXFF_ABI.

#ifndef JAXFF_ABI_H
#define JAXFF_ABI_H

#include <cstdint>

static constexpr int32_t JAXFF_ABI = 1;

extern "C" {

struct JaxffSettings {
  const char *file;
  const char *precision;    // "single" or "double"
  const char *device;       // "cpu", "gpu" or "auto"
  int32_t threads;          // 0: not given
  int32_t ranks;            // that share the model's atoms
  int32_t ranks_on_node;
  int32_t rank_on_node;
};

struct JaxffModel {
  int64_t handle;
  double cutoff;
  int32_t n_elements;
  int32_t real_bytes;    // of the compute type: 4 or 8
  const char *elements;    // separated by blanks
  const double *reference_energies;
  const char *banner;
  const char *citation;    // empty: none
};

struct JaxffWorkspace {
  int32_t index;
  int32_t width;     // neighbours a row
  void *vectors;     // [rows, width, 3] of the compute type
  int32_t *species;    // [rows]
  int32_t *neighbor_species;    // [rows, width]
  uint8_t *mask;    // [rows, width]
};

struct JaxffResult {
  const void *energies;    // [rows] of the compute type; valid until the next call
  const void *gradient;    // [rows, width, 3]
  int32_t compilations;    // so far
};

// Each function returns 0, or 1 after it has put a line of text into `error`.
struct JaxffTable {
  int32_t alive;    // 0 once the interpreter is shutting down
  const char *error;
  int32_t (*open)(const JaxffSettings *, JaxffModel *);
  int32_t (*block_rows)(int64_t handle, int64_t n_centers, int32_t *rows);
  int32_t (*workspace)(int64_t handle, int32_t rows, int32_t n_neighbors, JaxffWorkspace *);
  int32_t (*evaluate)(int64_t handle, int32_t workspace, JaxffResult *);
  int32_t (*close)(int64_t handle);
};
}

#endif
