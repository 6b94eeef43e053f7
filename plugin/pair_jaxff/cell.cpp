// Models that see the whole cell at once: all atoms are brought to rank 0, in the order of their IDs so that the result
// does not depend on who owns them; it evaluates, and forces go back. Correct on any number of ranks, faster on none.

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "pair_jaxff.h"
#include "strategy.h"

#include <algorithm>
#include <numeric>

using namespace LAMMPS_NS;

namespace {

constexpr int COLUMNS = 5;    // of an atom on its way: ID, species, position

struct Answer {
  double energy, virial[6];    // of the cell; dE/dstrain as LAMMPS orders it
  int32_t compilations;
};

class Cell : public Strategy {
 public:
  using Strategy::Strategy;

  std::string note() const override;
  bool gives_atom_virials() const override { return false; }
  void compute() override;
};

std::string Cell::note() const
{
  if (comm->nprocs == 1) return "";
  return "pair_style jaxff: this potential sees the whole cell: rank 0 evaluates it, the other ranks wait";
}

void Cell::compute()
{
  // A hybrid style need not have asked gives_atom_virials().
  if (pair.vflag_atom || pair.cvflag_atom)
    error->all(FLERR, "pair_style jaxff: {} sees the whole cell and has no virial of single atoms; remove what asks for it "
               "(compute stress/atom, heat/flux)", pair.file);
  const double *const *x = atom->x;
  double t0 = MPI_Wtime();
  std::vector<int> own;
  std::vector<double> sent;
  for (int i = 0; i < atom->nlocal; i++) {
    if (pair.species[atom->type[i]] < 0) continue;
    own.push_back(i);
    sent.insert(sent.end(), {static_cast<double>(atom->tag[i]), static_cast<double>(pair.species[atom->type[i]]), x[i][0], x[i][1], x[i][2]});
  }

  const int n_ranks = comm->nprocs, mine = sent.size();
  std::vector<int> counts(n_ranks), starts(n_ranks, 0);
  MPI_Gather(&mine, 1, MPI_INT, counts.data(), 1, MPI_INT, 0, world);
  std::partial_sum(counts.begin(), counts.end() - 1, starts.begin() + 1);
  std::vector<double> rows(comm->me == 0 ? starts.back() + counts.back() : 0);
  MPI_Gatherv(sent.data(), mine, MPI_DOUBLE, rows.data(), counts.data(), starts.data(), MPI_DOUBLE, 0, world);

  double t1 = MPI_Wtime();
  Answer answer{};
  std::vector<double> forces(rows.size() / COLUMNS * 3);
  if (comm->me == 0) {
    const int n = rows.size() / COLUMNS;
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) { return rows[COLUMNS * a] < rows[COLUMNS * b]; });
    std::vector<double> positions(3 * n);
    std::vector<int32_t> kinds(n);
    for (int k = 0; k < n; k++) {
      const double *row = &rows[COLUMNS * order[k]];
      kinds[k] = row[1];
      for (int c = 0; c < 3; c++) positions[3 * k + c] = row[2 + c] / pair.distance_unit;
    }
    const double *edge = domain->prd;
    JaxffCell cell{n, positions.data(), kinds.data(),
                   {edge[0], 0, 0, domain->xy, edge[1], 0, domain->xz, domain->yz, edge[2]},
                   {domain->xperiodic, domain->yperiodic, domain->zperiodic}};
    for (double &component : cell.vectors) component /= pair.distance_unit;
    JaxffCellResult result;
    pair.require(pair.python->cell(pair.model.handle, &cell, &result));
    answer = {result.energy, {}, result.compilations};
    std::copy_n(result.virial, 6, answer.virial);
    for (int k = 0; k < n; k++)
      for (int c = 0; c < 3; c++) forces[3 * order[k] + c] = result.forces[3 * k + c] * pair.energy_unit / pair.distance_unit;
  }

  double t2 = MPI_Wtime();
  MPI_Bcast(&answer, sizeof(answer), MPI_BYTE, 0, world);
  for (int r = 0; r < n_ranks; r++) {
    counts[r] = counts[r] / COLUMNS * 3;
    starts[r] = starts[r] / COLUMNS * 3;
  }
  std::vector<double> returned(3 * own.size());
  MPI_Scatterv(forces.data(), counts.data(), starts.data(), MPI_DOUBLE, returned.data(), static_cast<int>(returned.size()),
               MPI_DOUBLE, 0, world);
  bigint n_own = own.size(), n_all = 0;
  MPI_Allreduce(&n_own, &n_all, 1, MPI_LMP_BIGINT, MPI_SUM, world);
  for (size_t k = 0; k < own.size(); k++) {
    const int i = own[k];
    for (int c = 0; c < 3; c++) atom->f[i][c] += returned[3 * k + c];
    const double energy = (answer.energy / n_all + pair.reference[pair.species[atom->type[i]]]) * pair.energy_unit;
    if (pair.eflag_global) pair.eng_vdwl += energy;
    if (pair.eflag_atom) pair.eatom[i] += energy;
  }
  if (pair.vflag_global && comm->me == 0)
    for (int c = 0; c < 6; c++) pair.virial[c] -= answer.virial[c] * pair.energy_unit;

  pair.account(t0, t1, t2, answer.compilations, n_own);
}

}    // namespace

std::unique_ptr<Strategy> LAMMPS_NS::make_cell(LAMMPS *lmp, PairJaxff &pair)
{
  return std::make_unique<Cell>(lmp, pair);
}
