// Models whose energies depend on the atoms inside the cutoff and no others: one block of centres after another.

#include "gather.h"
#include "pair_jaxff.h"

#include <algorithm>

using namespace LAMMPS_NS;

namespace {

class Local : public BlockStrategy {
 public:
  using BlockStrategy::BlockStrategy;

  void init_style() override { request_neighbors(); }
  void compute() override;
  double memory_usage() const override { return BlockStrategy::memory_usage() + block.memory_usage(); }

 private:
  Block block;
};

void Local::compute()
{
  // Energies and plain virials are the centre's, and every centre is this rank's own.
  ghosts.begin(pair.cvflag_atom ? GhostRows::ENERGY : GhostRows::CENTROID_VIRIAL);
  collect_centers();
  int rows = 0;
  const int n_centers = centers.size();
  if (n_centers) pair.require(pair.python->block_rows(pair.model.handle, n_centers, &rows));
  for (int start = 0; start < n_centers; start += rows) {
    const double t0 = MPI_Wtime();
    const int most = gather(block, &centers[start], std::min(rows, n_centers - start));
    const JaxffWorkspace &space = workspace(rows, most);
    fill(block, space, rows);

    const double t1 = MPI_Wtime();
    JaxffResult result;
    pair.require(pair.python->evaluate(pair.model.handle, space.index, pair.errors.wanted(), &result));

    const double t2 = MPI_Wtime();
    scatter(block, space, result);
    pair.account(t0, t1, t2, result.compilations, block.n);
  }
  ghosts.send_home();
}

}    // namespace

std::unique_ptr<Strategy> LAMMPS_NS::make_local(LAMMPS *lmp, PairJaxff &pair)
{
  return std::make_unique<Local>(lmp, pair);
}
