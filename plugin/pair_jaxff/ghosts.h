// What is added to ghost atoms where LAMMPS neither clears nor returns it, and its way home.

#ifndef JAXFF_GHOSTS_H
#define JAXFF_GHOSTS_H

#include "pointers.h"

#include <vector>

namespace LAMMPS_NS {

class PairJaxff;

class GhostRows : protected Pointers {
 public:
  // Columns of a row.
  enum { FORCE = 0, CENTROID_VIRIAL = 3, ENERGY = 12, VIRIAL = 13, ALL = 19 };

  GhostRows(LAMMPS *, PairJaxff &);

  // Begins a step in which a ghost gets the first `columns` of a row.
  void begin(int columns);
  // Where rows are in use, ghost j's is added to instead of LAMMPS's arrays.
  bool in_use() const { return stride > 0; }
  double *row(int j) { return &rows[static_cast<size_t>(stride) * (j - first_ghost)]; }
  // Adds all rows to their owners.
  void send_home();

  int pack(int n, int first, double *buf);
  void unpack(int n, const int *indices, const double *buf);
  double memory_usage() const { return static_cast<double>(rows.capacity() * sizeof(double)); }

 private:
  PairJaxff &pair;
  std::vector<double> rows;
  int stride = 0, first_ghost = 0;
};

}    // namespace LAMMPS_NS

#endif
