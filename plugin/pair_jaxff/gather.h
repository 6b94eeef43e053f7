// Strategies that evaluate blocks of rows: each row sees the atoms inside the cutoff, padded to one width.

#ifndef JAXFF_GATHER_H
#define JAXFF_GATHER_H

#include "abi.h"
#include "ghosts.h"
#include "strategy.h"

#include <map>
#include <utility>
#include <vector>

namespace LAMMPS_NS {

// The neighbours of a block's rows inside the cutoff, row after row.
struct Block {
  const int *centers = nullptr;    // atoms that the rows are; none where they are points
  int n = 0;                       // rows
  std::vector<int> row_end;
  std::vector<int> neighbors;
  std::vector<double> vectors;    // r_j - r_i in the distance unit of LAMMPS

  // Makes room for `rows` rows with `room` neighbours together.
  void reserve(int rows, size_t room);
  double memory_usage() const;
};

class BlockStrategy : public Strategy {
 public:
  BlockStrategy(LAMMPS *, PairJaxff &);
  int pack_reverse_comm(int n, int first, double *buf) override;
  void unpack_reverse_comm(int n, const int *indices, const double *buf) override;
  double memory_usage() const override;

 protected:
  // Asks for a full neighbour list, of ghosts too where `flags` say so.
  void request_neighbors(int flags = 0);
  // The atoms of this rank that the potential knows, in the order of the neighbour list.
  void collect_centers();
  // Fills `block` with the neighbours of n atoms; returns the largest number of them that one has.
  int gather(Block &block, const int *first, int n);
  const JaxffWorkspace &workspace(int rows, int n_neighbors);
  // Copies a block into a workspace of `rows` rows.
  void fill(const Block &, const JaxffWorkspace &, int rows);
  // Adds energies, forces and virials of a block of atoms.
  void scatter(const Block &, const JaxffWorkspace &, const JaxffResult &);

  std::vector<int> centers;
  GhostRows ghosts;

 private:
  void check_special_bonds();
  template <typename Real> void fill_as(const Block &, const JaxffWorkspace &, int rows);
  template <typename Real> void scatter_as(const Block &, const JaxffWorkspace &, const JaxffResult &);
  void tally_virial(int i, int j, const double *r, const double *g);
  [[noreturn]] void not_finite(const Block &, int row);

  std::map<std::pair<int, int>, JaxffWorkspace> workspaces;
};

}    // namespace LAMMPS_NS

#endif
