// What the C++ pair style and jaxff/lammps/pair_jaxff/bridge.py say to each other. Lengths are in Å, energies in eV.
// Every change here is made in bridge.py too, and raises JAXFF_ABI.

#ifndef JAXFF_ABI_H
#define JAXFF_ABI_H

#include <cstdint>

static constexpr int32_t JAXFF_ABI = 7;

extern "C" {

struct JaxffSettings {
  const char *file;
  const char *precision;    // "single" or "double"
  const char *device;       // "cpu", "gpu" or "auto"
  const char *symbols;      // of the atom types, separated by blanks; NULL for those that are left out
  int32_t threads;          // 0: not given
  int32_t ranks_on_node;
  int32_t rank_on_node;
};

// How a model is evaluated: blocks of atoms; blocks of atoms, layer after layer; blocks of points of a grid; all atoms at
// once. Of the functions below, each strategy calls those that name it.
enum { JAXFF_LOCAL = 0, JAXFF_LAYERS = 1, JAXFF_GRID = 2, JAXFF_CELL = 3 };

struct JaxffModel {
  int64_t handle;
  double cutoff;
  int32_t n_elements;
  int32_t real_bytes;    // of the compute type: 4 or 8
  const char *elements;    // separated by blanks
  const double *reference_energies;
  const char *banner;
  const char *citation;    // empty: none
  const char *needs;       // what it means nothing without, and the commands that add it; empty: nothing
  int32_t strategy;
  int32_t layers;             // an energy depends on atoms up to layers x cutoff away
  int32_t message_columns;    // LAYERS: numbers of the compute type that an atom sends at most before a layer
  // Whether it grades atoms, and of the error to expect of a force F: bar * s * (F^2 + smallest_force^2)^(force_exponent / 2)
  // in eV/Å, where s is g^grade_exponent below 1 and g above, and g^2 the mean of the grade squared and of that of the neighbours.
  int32_t graded;
  double bar, grade_exponent, force_exponent, smallest_force;
};

struct JaxffWorkspace {
  int32_t index;
  int32_t width;     // neighbours a row
  void *vectors;     // [rows, width, 3] of the compute type
  int32_t *species;    // [rows]
  int32_t *neighbor_species;    // [rows, width]
  uint8_t *mask;    // [rows, width]
  // The rest for LAYERS only.
  int32_t *neighbors;    // [rows, width] local indices of atoms, ghosts included
  int32_t *centers;    // [rows] local indices, -1 for padding
  void *weights;    // [rows] of the compute type: 1 where the energy counts
};

struct JaxffResult {
  const void *energies;    // [rows] of the compute type; valid until the next call
  const void *gradient;    // [rows, width, 3]
  const void *grades;      // [rows]; null where they were not asked for
  int32_t compilations;    // so far
};

// What must happen before LAYERS can go on. FORWARD: rows of ghosts are copied from their owners;
// REVERSE: rows of ghosts are added to their owners'.
enum { JAXFF_FINISHED = 0, JAXFF_FORWARD = 1, JAXFF_REVERSE = 2 };

struct JaxffExchange {
  int32_t kind;
  int32_t columns;
  void *array;    // [atoms with ghosts, columns] of the compute type
};

// CELL: all atoms of a system.
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
  // LOCAL, GRID: one block after another is filled and evaluated.
  int32_t (*block_rows)(int64_t handle, int64_t n_centers, int32_t *rows);
  int32_t (*workspace)(int64_t handle, int32_t rows, int32_t n_neighbors, JaxffWorkspace *);
  int32_t (*evaluate)(int64_t handle, int32_t workspace, int32_t graded, JaxffResult *);
  // LAYERS: all blocks are filled first, then the model advances from one exchange to the next until it is finished.
  int32_t (*block)(int64_t handle, int32_t number, int32_t rows, int32_t n_neighbors, JaxffWorkspace *);
  int32_t (*start)(int64_t handle, int32_t n_blocks, int64_t n_atoms, const int32_t *blocks_needed_by_layer,
                   int32_t graded);
  int32_t (*advance)(int64_t handle, JaxffExchange *);
  int32_t (*result)(int64_t handle, int32_t number, JaxffResult *);
  int32_t (*close)(int64_t handle);
  // CELL.
  int32_t (*cell)(int64_t handle, const JaxffCell *, JaxffCellResult *);
  // GRID: rows are points of a grid (species -1, energies eV/Å^3). From the cell (Å, rows a b c) the vectors from a point
  // to the next ones, and how many there are along each cell vector (0: as many as see an atom). The numbers are kept
  // from call to call while they suit.
  int32_t (*grid)(int64_t handle, const double *cell, const int32_t *periodic, double *steps, int32_t *counts);
};
}

#endif
