// How far atoms are from what a potential was trained on, and the errors that are to be expected of their forces: for fix
// pair, compute pair and a file.

#ifndef JAXFF_ATOM_ERRORS_H
#define JAXFF_ATOM_ERRORS_H

#include "pointers.h"

#include <cstdio>
#include <string>
#include <vector>

namespace LAMMPS_NS {

class PairJaxff;

class AtomErrors : protected Pointers {
 public:
  AtomErrors(LAMMPS *, PairJaxff &);
  ~AtomErrors() override;

  // Of the pair style's keywords: how often (0: when somebody asks), and a file for the extremes (empty: none).
  void set(int every, const std::string &file);
  void init_style();
  // Whether grades are wanted in this step.
  bool wanted() const { return active; }
  // Begins a step: what the pair style adds to the forces from here on is its own.
  void begin();
  // The grade of atom i, and the n neighbours that it sees, ghosts included.
  void put(int i, double grade, const int *neighbors, int n)
  {
    grades[i] = grade;
    counts[i] = n;
    const double square = grade * grade;
    for (int m = 0; m < n; m++) sums[4 * static_cast<size_t>(neighbors[m]) + AROUND] += square;
  }
  // Makes errors of grades and forces, and what all ranks tell of them.
  void finish();

  // For Pair::extract() and Pair::extract_peratom(); null for other names.
  int *trigger(const std::string &name);
  double *values(const std::string &name);

  bool in_use() const { return adding; }
  int pack_reverse_comm(int n, int first, double *buf) const;
  void unpack_reverse_comm(int n, const int *indices, const double *buf);
  double memory_usage() const;

 private:
  enum { UNCERTAINTY, GRADE, COLUMNS };
  enum { FORCE = 0, AROUND = 3, SUMS = 4 };

  void check_known() const;
  void keep_with_atoms();
  double *column(int which);
  void write(const double *most, const double *least, const double *sum, double n);

  PairJaxff &pair;
  int every = 0;
  std::string path;
  FILE *file = nullptr;
  bool active = false, adding = false, known = false, asked = false, lost = false;
  int triggers[COLUMNS] = {0, 0};
  std::vector<double> grades, errors;
  std::vector<int> counts;     // of neighbours
  // Of each atom, ghosts included: its force before the pair style's part, then that part; and its neighbours' grades squared.
  std::vector<double> sums;
  std::vector<double> shown[COLUMNS];
  std::string store;             // ID of the fix that moves values with their atoms between two evaluations; empty: none
};

}    // namespace LAMMPS_NS

#endif
