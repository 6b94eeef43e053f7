// What the C++ pair style and jaxff/lammps/pair_jaxff/bridge.py say to each other. Lengths are in Å, energies in eV.
// Every change here is made in bridge.py too, and raises JAXFF_ABI.

#ifndef JAXFF_ABI_H
#define JAXFF_ABI_H

#include <cstdint>

static constexpr int32_t JAXFF_ABI = 4;

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
  int32_t layers;            // 0: local, evaluated block by block
  int32_t message_columns;    // numbers of the compute type that an atom sends at most before a layer
  int32_t whole_cell;    // 1: evaluated as one system, by `cell`
  double spacing;    // Å between the points of a grid; 0: seen from atoms
};

struct JaxffWorkspace {
  int32_t index;
  int32_t width;     // neighbours a row
  void *vectors;     // [rows, width, 3] of the compute type
  int32_t *species;    // [rows]
  int32_t *neighbor_species;    // [rows, width]
  uint8_t *mask;    // [rows, width]
  // The rest only where the model has layers.
  int32_t *neighbors;    // [rows, width] local indices of atoms, ghosts included
  int32_t *centers;    // [rows] local indices, -1 for padding
  void *weights;    // [rows] of the compute type: 1 where the energy counts
};

struct JaxffResult {
  const void *energies;    // [rows] of the compute type; valid until the next call
  const void *gradient;    // [rows, width, 3]
  int32_t compilations;    // so far
};

// What must happen before a model with layers can go on. FORWARD: rows of ghosts are copied from their owners;
// REVERSE: rows of ghosts are added to their owners'.
enum { JAXFF_FINISHED = 0, JAXFF_FORWARD = 1, JAXFF_REVERSE = 2 };

struct JaxffExchange {
  int32_t kind;
  int32_t columns;
  void *array;    // [atoms with ghosts, columns] of the compute type
};

// All atoms of a system, for a model that sees them at once.
struct JaxffCell {
  int64_t n;
  const double *positions;    // [n, 3] Å
  const int32_t *species;
  double vectors[9];    // of the cell, rows a b c, Å
  int32_t periodic[3];
};

struct JaxffCellResult {
  double energy;    // eV, without reference energies
  double virial[6];    // dE/dstrain, eV: xx yy zz xy xz yz
  const double *forces;    // [n, 3] eV/Å; valid until the next call
  int32_t compilations;
};

// Each function returns 0, or 1 after it has put a line of text into `error`.
struct JaxffTable {
  int32_t alive;    // 0 once the interpreter is shutting down
  const char *error;
  int32_t (*open)(const JaxffSettings *, JaxffModel *);
  int32_t (*block_rows)(int64_t handle, int64_t n_centers, int32_t *rows);
  int32_t (*workspace)(int64_t handle, int32_t rows, int32_t n_neighbors, JaxffWorkspace *);
  int32_t (*evaluate)(int64_t handle, int32_t workspace, JaxffResult *);
  // With layers, all blocks are filled first, then the model advances from one exchange to the next until it is finished.
  int32_t (*block)(int64_t handle, int32_t number, int32_t rows, int32_t n_neighbors, JaxffWorkspace *);
  int32_t (*start)(int64_t handle, int32_t n_blocks, int64_t n_atoms, const int32_t *blocks_needed_by_layer);
  int32_t (*advance)(int64_t handle, JaxffExchange *);
  int32_t (*result)(int64_t handle, int32_t number, JaxffResult *);
  int32_t (*close)(int64_t handle);
  int32_t (*cell)(int64_t handle, const JaxffCell *, JaxffCellResult *);
  // Where the rows are points of a grid (species -1, energies eV/Å^3): from the cell (Å, rows a b c) the vectors from a
  // point to the next ones, and how many there are along each cell vector (0: as many as see an atom).
  int32_t (*grid)(int64_t handle, const double *cell, const int32_t *periodic, double *steps, int32_t *counts);
};
}

#endif
