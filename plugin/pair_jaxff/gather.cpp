// Gathers neighbours into padded blocks, and scatters the model's gradient.

#include "gather.h"

#include "atom.h"
#include "error.h"
#include "force.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair_jaxff.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace LAMMPS_NS;

void Block::reserve(int rows, size_t room)
{
  n = rows;
  row_end.resize(rows);
  if (neighbors.size() < room) {
    neighbors.resize(room);
    vectors.resize(3 * room);
  }
}

double Block::memory_usage() const
{
  return static_cast<double>(sizeof(double) * vectors.capacity() + sizeof(int) * (neighbors.capacity() + row_end.capacity()));
}

BlockStrategy::BlockStrategy(LAMMPS *lmp, PairJaxff &owner) : Strategy(lmp, owner), ghosts(lmp, owner) {}

void BlockStrategy::request_neighbors(int flags)
{
  check_special_bonds();
  neighbor->add_request(&pair, NeighConst::REQ_FULL | flags);
}

// A factor of exactly zero makes LAMMPS leave bonded neighbours out of the list; this model must see them all.

void BlockStrategy::check_special_bonds()
{
  if (atom->molecular == Atom::ATOMIC) return;
  int mine[4] = {0, 0, 0, 0}, has[4];
  for (int i = 0; i < atom->nlocal; i++)
    for (int k = 1; k <= 3; k++)
      if (atom->molecular == Atom::TEMPLATE || atom->nspecial[i][k - 1] > (k > 1 ? atom->nspecial[i][k - 2] : 0)) mine[k] = 1;
  MPI_Allreduce(mine, has, 4, MPI_INT, MPI_MAX, world);
  for (int k = 1; k <= 3; k++)
    if (has[k] && force->special_lj[k] == 0.0 && force->special_coul[k] == 0.0)
      error->all(FLERR, "pair_style jaxff needs all neighbours of bonded atoms, but special_bonds drops the 1-{} ones; use "
                 "`special_bonds lj/coul 1 1 1`, or 1.0e-50 for a factor another pair style needs as zero", k + 1);
}

void BlockStrategy::collect_centers()
{
  const NeighList *list = pair.list;
  centers.clear();
  centers.reserve(list->inum);
  for (int ii = 0; ii < list->inum; ii++)
    if (pair.species[atom->type[list->ilist[ii]]] >= 0) centers.push_back(list->ilist[ii]);
}

int BlockStrategy::gather(Block &block, const int *first, int n)
{
  const double *const *x = atom->x;
  const int *type = atom->type;
  const int *species = pair.species.data();
  const NeighList *list = pair.list;
  const double cutoff = pair.model.cutoff * pair.distance_unit;
  const double cutoff_squared = cutoff * cutoff;

  block.centers = first;
  size_t room = 0;
  for (int row = 0; row < n; row++) room += list->numneigh[first[row]];
  block.reserve(n, room);

  int *neighbor = block.neighbors.data();
  double *vector = block.vectors.data();
  int most = 0, total = 0;
  for (int row = 0; row < n; row++) {
    const int i = first[row];
    const double xi = x[i][0], yi = x[i][1], zi = x[i][2];
    const int *candidates = list->firstneigh[i];
    const int begin = total;
    for (int jj = 0; jj < list->numneigh[i]; jj++) {
      const int j = candidates[jj] & NEIGHMASK;
      const double dx = x[j][0] - xi, dy = x[j][1] - yi, dz = x[j][2] - zi;
      const double r_squared = dx * dx + dy * dy + dz * dz;
      if (r_squared >= cutoff_squared) continue;    // a NaN distance goes on, and is named later
      if (species[type[j]] < 0) continue;
      if (r_squared == 0.0)
        pair.stop(fmt::format("atoms {} and {} are at the same position", atom->tag[i], atom->tag[j]));
      neighbor[total] = j;
      vector[3 * total] = dx;
      vector[3 * total + 1] = dy;
      vector[3 * total + 2] = dz;
      total++;
    }
    block.row_end[row] = total;
    most = std::max(most, total - begin);
  }
  return most;
}

const JaxffWorkspace &BlockStrategy::workspace(int rows, int n_neighbors)
{
  auto [at, is_new] = workspaces.try_emplace({rows, n_neighbors});
  if (is_new) pair.require(pair.python->workspace(pair.model.handle, rows, n_neighbors, &at->second));
  return at->second;
}

void BlockStrategy::fill(const Block &block, const JaxffWorkspace &space, int rows)
{
  if (pair.model.real_bytes == 4)
    fill_as<float>(block, space, rows);
  else
    fill_as<double>(block, space, rows);
}

template <typename Real> void BlockStrategy::fill_as(const Block &block, const JaxffWorkspace &space, int rows)
{
  const int *type = atom->type;
  const int *species = pair.species.data();
  const double to_angstrom = 1.0 / pair.distance_unit;
  const size_t width = space.width;
  auto *vectors = static_cast<Real *>(space.vectors);
  int k = 0;
  for (int row = 0; row < block.n; row++) {
    const size_t start = row * width;
    const int count = block.row_end[row] - k;
    for (int c = 0; c < 3 * count; c++) vectors[3 * start + c] = block.vectors[3 * k + c] * to_angstrom;
    for (int c = 0; c < count; c++) space.neighbor_species[start + c] = species[type[block.neighbors[k + c]]];
    memset(space.mask + start, 1, count);
    memset(space.mask + start + count, 0, width - count);
    space.species[row] = block.centers ? species[type[block.centers[row]]] : -1;
    k += count;
  }
  memset(space.mask + block.n * width, 0, (rows - block.n) * width);
}

void BlockStrategy::scatter(const Block &block, const JaxffWorkspace &space, const JaxffResult &result)
{
  if (pair.model.real_bytes == 4)
    scatter_as<float>(block, space, result);
  else
    scatter_as<double>(block, space, result);
}

template <typename Real>
void BlockStrategy::scatter_as(const Block &block, const JaxffWorkspace &space, const JaxffResult &result)
{
  double **f = atom->f;
  const int nlocal = atom->nlocal;
  const bool separate_ghosts = ghosts.in_use();
  const double to_force = pair.energy_unit / pair.distance_unit;
  const auto *energies = static_cast<const Real *>(result.energies);
  const auto *gradient = static_cast<const Real *>(result.gradient);
  const auto *grades = static_cast<const Real *>(result.grades);
  int k = 0;
  for (int row = 0; row < block.n; row++) {
    const int i = block.centers[row];
    if (grades && i < nlocal) pair.errors.put(i, grades[row], &block.neighbors[k], block.row_end[row] - k);
    const Real *g_row = gradient + 3 * static_cast<size_t>(row) * space.width;
    const int begin = k;
    double sum[3] = {0.0, 0.0, 0.0};
    for (const Real *g = g_row; k < block.row_end[row]; k++, g += 3) {
      const int j = block.neighbors[k];
      const double gx = g[0] * to_force, gy = g[1] * to_force, gz = g[2] * to_force;
      double *fj = separate_ghosts && j >= nlocal ? ghosts.row(j) + GhostRows::FORCE : f[j];
      fj[0] -= gx;
      fj[1] -= gy;
      fj[2] -= gz;
      sum[0] += gx;
      sum[1] += gy;
      sum[2] += gz;
    }
    f[i][0] += sum[0];
    f[i][1] += sum[1];
    f[i][2] += sum[2];

    const double energy = (energies[row] + pair.reference[space.species[row]]) * pair.energy_unit;
    if (!std::isfinite(energy + sum[0] + sum[1] + sum[2])) not_finite(block, row);
    if (i < nlocal) {    // the energy of a ghost is counted where it is owned
      if (pair.eflag_global) pair.eng_vdwl += energy;
      if (pair.eflag_atom) pair.eatom[i] += energy;
    }
    if (pair.vflag_either)
      for (int m = begin; m < k; m++) {
        const Real *g = g_row + 3 * (m - begin);
        const double force_unit[3] = {g[0] * to_force, g[1] * to_force, g[2] * to_force};
        tally_virial(i, block.neighbors[m], &block.vectors[3 * m], force_unit);
      }
  }
}

// LAMMPS's virial is -sum of r outer g. vatom is the centre's share. cvatom belongs to the neighbour, on which -g acts at
// r from the centre: only so does the heat flux follow from it (Fan et al., PRB 92, 094301, eq. 22).

void BlockStrategy::tally_virial(int i, int j, const double *r, const double *g)
{
  const double w[9] = {-r[0] * g[0], -r[1] * g[1], -r[2] * g[2], -r[0] * g[1], -r[0] * g[2],
                       -r[1] * g[2], -r[1] * g[0], -r[2] * g[0], -r[2] * g[1]};
  if (pair.vflag_global)
    for (int c = 0; c < 6; c++) pair.virial[c] += w[c];
  if (pair.vflag_atom)
    for (int c = 0; c < 6; c++) pair.vatom[i][c] += w[c];
  if (pair.cvflag_atom) {
    double *to = ghosts.in_use() && j >= atom->nlocal ? ghosts.row(j) + GhostRows::CENTROID_VIRIAL : pair.cvatom[j];
    for (int c = 0; c < 9; c++) to[c] += w[c];
  }
}

void BlockStrategy::not_finite(const Block &block, int row)
{
  const int i = block.centers[row];
  int nearest = -1;
  double shortest = HUGE_VAL;
  for (int k = row ? block.row_end[row - 1] : 0; k < block.row_end[row]; k++) {
    const double *r = &block.vectors[3 * k];
    const double distance = std::sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
    if (!(distance >= shortest)) {
      shortest = distance;
      nearest = block.neighbors[k];
    }
  }
  std::string who = nearest < 0
      ? "it has no neighbours"
      : fmt::format("its nearest neighbour is atom {} at a distance of {:.6g}", atom->tag[nearest], shortest);
  pair.stop(fmt::format("the energy or force of atom {} is not a finite number; {}", atom->tag[i], who));
}

int BlockStrategy::pack_reverse_comm(int n, int first, double *buf)
{
  return ghosts.pack(n, first, buf);
}

void BlockStrategy::unpack_reverse_comm(int n, const int *indices, const double *buf)
{
  ghosts.unpack(n, indices, buf);
}

double BlockStrategy::memory_usage() const
{
  return ghosts.memory_usage() + static_cast<double>(sizeof(int) * centers.capacity());
}
