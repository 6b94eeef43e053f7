// Models that look from the points of a grid: the energy is the integral of a density, forces act on atoms only.
//
// Points are at fractions k/n of the box, so that each lies in the sub-domain of exactly one rank, by half-open intervals
// of the very numbers by which LAMMPS cuts the box. Along directions that are not periodic the grid is fixed in space.

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "gather.h"
#include "pair_jaxff.h"

#include <algorithm>
#include <cmath>

using namespace LAMMPS_NS;

namespace {

class Grid : public BlockStrategy {
 public:
  using BlockStrategy::BlockStrategy;

  void compute() override;
  double memory_usage() const override;

 private:
  void place_grid();
  void find_points();
  int gather_points(int start, int n);
  template <typename See> void for_points_near(const double *x, See see) const;
  template <typename Real> void scatter_points(const JaxffWorkspace &, const JaxffResult &);

  Block block;
  // The points in this rank's part of the box, numbered with the first index fastest.
  struct {
    double step[3][3], origin[3], volume;    // lower triangular; volume of a grid cell in Å^3
    int32_t count[3];
    int begin[3], size[3];
  } grid{};
  std::vector<int64_t> points;       // those that see an atom
  std::vector<int64_t> point_end;    // of each point's atoms in point_atoms; one entry ahead
  std::vector<int64_t> next;
  std::vector<int> point_atoms;
};

void Grid::compute()
{
  const bool by_atoms = pair.eflag_atom || pair.vflag_atom || pair.cvflag_atom;
  ghosts.begin(by_atoms ? GhostRows::ALL : GhostRows::CENTROID_VIRIAL);
  double t0 = MPI_Wtime();
  place_grid();
  find_points();
  const int n_points = points.size();
  int rows = 0;
  if (n_points) pair.require(pair.python->block_rows(pair.model.handle, n_points, &rows));
  for (int start = 0; start < n_points; start += rows) {
    const int most = gather_points(start, std::min(rows, n_points - start));
    const JaxffWorkspace &space = workspace(rows, most);
    fill(block, space, rows);

    const double t1 = MPI_Wtime();
    JaxffResult result;
    pair.require(pair.python->evaluate(pair.model.handle, space.index, 0, &result));

    const double t2 = MPI_Wtime();
    if (pair.model.real_bytes == 4)
      scatter_points<float>(space, result);
    else
      scatter_points<double>(space, result);
    pair.account(t0, t1, t2, result.compilations, block.n);
    t0 = MPI_Wtime();
  }
  for (int i = 0; i < atom->nlocal; i++) {
    const int s = pair.species[atom->type[i]];
    if (s < 0) continue;
    if (pair.eflag_global) pair.eng_vdwl += pair.reference[s] * pair.energy_unit;
    if (pair.eflag_atom) pair.eatom[i] += pair.reference[s] * pair.energy_unit;
  }
  ghosts.send_home();
}

// The grid's vectors, and the range of indices along each that is this rank's.

void Grid::place_grid()
{
  const double *h = domain->h;    // xx yy zz yz xz xy
  const double tilts[3][2] = {{h[5], h[4]}, {h[5], h[3]}, {h[4], h[3]}};
  const int32_t periodic[3] = {domain->xperiodic, domain->yperiodic, domain->zperiodic};
  double cell[9] = {h[0], 0, 0, h[5], h[1], 0, h[4], h[3], h[2]};
  for (double &value : cell) value /= pair.distance_unit;
  pair.require(pair.python->grid(pair.model.handle, cell, periodic, &grid.step[0][0], grid.count));
  grid.volume = std::fabs(grid.step[0][0] * grid.step[1][1] * grid.step[2][2]);
  for (auto &row : grid.step)
    for (double &value : row) value *= pair.distance_unit;

  double low[3], high[3];
  for (int axis = 0; axis < 3; axis++) low[axis] = HUGE_VAL, high[axis] = -HUGE_VAL;
  for (int j = 0; j < atom->nlocal + atom->nghost; j++)
    for (int axis = 0; axis < 3; axis++) {
      const double x = atom->x[j][axis];
      if (!std::isfinite(x)) pair.stop(fmt::format("the position of atom {} is not finite", atom->tag[j]));
      low[axis] = std::min(low[axis], x);
      high[axis] = std::max(high[axis], x);
    }

  const double cutoff = pair.model.cutoff * pair.distance_unit;
  double *const *splits[3] = {&comm->xsplit, &comm->ysplit, &comm->zsplit};
  for (int axis = 0; axis < 3; axis++) {
    if (!periodic[axis] && (tilts[axis][0] != 0.0 || tilts[axis][1] != 0.0))
      error->all(FLERR, "pair_style jaxff: a potential on a grid needs a box that is not tilted along directions that are not periodic");
    const bool tiled = comm->layout == Comm::LAYOUT_TILED;
    double first = tiled ? comm->mysplit[axis][0] : (*splits[axis])[comm->myloc[axis]];
    double last = tiled ? comm->mysplit[axis][1] : (*splits[axis])[comm->myloc[axis] + 1];
    const double step = grid.step[axis][axis];
    grid.origin[axis] = periodic[axis] ? domain->boxlo[axis] : 0.0;
    int begin = 0, end = grid.count[axis];
    if (!periodic[axis]) {    // beyond the box, points are of the ranks at its faces
      if (first == 0.0) first = -HUGE_VAL;
      if (last == 1.0) last = HUGE_VAL;
      begin = low[axis] > high[axis] ? 0 : static_cast<int>(std::floor((low[axis] - cutoff) / step));
      end = low[axis] > high[axis] ? 0 : static_cast<int>(std::ceil((high[axis] + cutoff) / step)) + 1;
    }
    auto fraction = [&](int k) {
      return periodic[axis] ? k / static_cast<double>(grid.count[axis]) : (k * step - domain->boxlo[axis]) / domain->prd[axis];
    };
    while (begin < end && !(fraction(begin) >= first)) begin++;
    while (begin < end && !(fraction(end - 1) < last)) end--;
    grid.begin[axis] = begin;
    grid.size[axis] = end - begin;
  }
}

// Calls see(point) with the number of each of this rank's points that is closer than the cutoff to x.

template <typename See> void Grid::for_points_near(const double *x, See see) const
{
  const double cutoff = pair.model.cutoff * pair.distance_unit;
  const auto &s = grid.step;
  // Clipped as doubles: an atom may be so far away that its index is no int.
  auto range = [](double center, double reach, double step, int begin, int size, int &from, int &to) {
    from = static_cast<int>(std::max<double>(begin, std::ceil((center - reach) / step)));
    to = static_cast<int>(std::min<double>(begin + size - 1, std::floor((center + reach) / step)));
  };
  const double rx = x[0] - grid.origin[0], ry = x[1] - grid.origin[1], rz = x[2] - grid.origin[2];
  int from[3], to[3];
  range(rz, cutoff, s[2][2], grid.begin[2], grid.size[2], from[2], to[2]);
  for (int c = from[2]; c <= to[2]; c++) {
    const double dz = rz - c * s[2][2], y = ry - c * s[2][1];
    const double disc = cutoff * cutoff - dz * dz;
    if (disc <= 0.0) continue;
    range(y, std::sqrt(disc), s[1][1], grid.begin[1], grid.size[1], from[1], to[1]);
    for (int b = from[1]; b <= to[1]; b++) {
      const double dy = y - b * s[1][1], line = disc - dy * dy;
      if (line <= 0.0) continue;
      range(rx - c * s[2][0] - b * s[1][0], std::sqrt(line), s[0][0], grid.begin[0], grid.size[0], from[0], to[0]);
      const int64_t row = (static_cast<int64_t>(c - grid.begin[2]) * grid.size[1] + (b - grid.begin[1])) * grid.size[0] - grid.begin[0];
      for (int a = from[0]; a <= to[0]; a++) see(row + a);
    }
  }
}

// The points that see an atom, and for each the atoms that it sees: a counting sort over the points of this rank.

void Grid::find_points()
{
  const int n_atoms = atom->nlocal + atom->nghost;
  const int64_t total = static_cast<int64_t>(std::max(grid.size[0], 0)) * std::max(grid.size[1], 0) * std::max(grid.size[2], 0);
  point_end.assign(total + 1, 0);
  points.clear();
  if (total == 0) return;
  auto seen = [&](int j) { return pair.species[atom->type[j]] >= 0; };
  for (int j = 0; j < n_atoms; j++)
    if (seen(j)) for_points_near(atom->x[j], [&](int64_t p) { point_end[p + 1]++; });
  for (int64_t p = 0; p < total; p++) {
    if (point_end[p + 1]) points.push_back(p);
    point_end[p + 1] += point_end[p];
  }
  point_atoms.resize(point_end[total]);
  // Filled from each point's start, which thereby moves to its end: the start of the next.
  next.assign(point_end.begin(), point_end.end() - 1);
  for (int j = 0; j < n_atoms; j++)
    if (seen(j)) for_points_near(atom->x[j], [&](int64_t p) { point_atoms[next[p]++] = j; });
}

int Grid::gather_points(int start, int n)
{
  const double *const *x = atom->x;
  size_t room = 0;
  for (int row = 0; row < n; row++) room += point_end[points[start + row] + 1] - point_end[points[start + row]];
  block.reserve(n, room);
  int total = 0, most = 0;
  for (int row = 0; row < n; row++) {
    const int64_t p = points[start + row];
    const double a = grid.begin[0] + static_cast<int>(p % grid.size[0]);
    const double b = grid.begin[1] + static_cast<int>(p / grid.size[0] % grid.size[1]);
    const double c = grid.begin[2] + static_cast<int>(p / grid.size[0] / grid.size[1]);
    const auto &s = grid.step;
    const double px = grid.origin[0] + a * s[0][0] + b * s[1][0] + c * s[2][0];
    const double py = grid.origin[1] + b * s[1][1] + c * s[2][1], pz = grid.origin[2] + c * s[2][2];
    for (int64_t at = point_end[p]; at < point_end[p + 1]; at++, total++) {
      const int j = block.neighbors[total] = point_atoms[at];
      double *vector = &block.vectors[3 * total];
      vector[0] = x[j][0] - px;
      vector[1] = x[j][1] - py;
      vector[2] = x[j][2] - pz;
    }
    block.row_end[row] = total;
    most = std::max<int>(most, point_end[p + 1] - point_end[p]);
  }
  return most;
}

// A point's energy is shared by the atoms it sees as (1 - (r/cutoff)^2)^3. Its volume grows with the box: LAMMPS's virial is
// -(sum of r outer g + energy).

template <typename Real> void Grid::scatter_points(const JaxffWorkspace &space, const JaxffResult &result)
{
  const double to_energy = grid.volume * pair.energy_unit, to_force = to_energy / pair.distance_unit;
  const double cutoff = pair.model.cutoff * pair.distance_unit, scale = 1.0 / (cutoff * cutoff);
  const bool by_atoms = pair.eflag_atom || pair.vflag_atom || pair.cvflag_atom;
  const auto *density = static_cast<const Real *>(result.energies);
  const auto *gradient = static_cast<const Real *>(result.gradient);
  int k = 0;
  for (int row = 0; row < block.n; row++) {
    const Real *g = gradient + 3 * static_cast<size_t>(row) * space.width;
    const double energy = density[row] * to_energy;
    auto share = [&](int m) {
      const double *r = &block.vectors[3 * m];
      const double left = std::max(0.0, 1.0 - (r[0] * r[0] + r[1] * r[1] + r[2] * r[2]) * scale);
      return left * left * left;
    };
    double shares = 1e-300;
    if (by_atoms)
      for (int m = k; m < block.row_end[row]; m++) shares += share(m);
    if (pair.eflag_global) pair.eng_vdwl += energy;
    if (pair.vflag_global)
      for (int c = 0; c < 3; c++) pair.virial[c] -= energy;
    for (; k < block.row_end[row]; k++, g += 3) {
      const int j = block.neighbors[k];
      const double gj[3] = {g[0] * to_force, g[1] * to_force, g[2] * to_force};
      if (!std::isfinite(gj[0] + gj[1] + gj[2] + energy))
        pair.stop(fmt::format("the energy or force of atom {}, or of the space around it, is not a finite number", atom->tag[j]));
      const bool away = ghosts.in_use() && j >= atom->nlocal;
      double *fj = away ? ghosts.row(j) + GhostRows::FORCE : atom->f[j];
      for (int c = 0; c < 3; c++) fj[c] -= gj[c];
      const double own = by_atoms ? energy * share(k) / shares : 0.0;
      if (pair.eflag_atom) (away ? ghosts.row(j)[GhostRows::ENERGY] : pair.eatom[j]) += own;
      if (!pair.vflag_either) continue;
      const double *r = &block.vectors[3 * k];
      const double w[9] = {-r[0] * gj[0], -r[1] * gj[1], -r[2] * gj[2], -r[0] * gj[1], -r[0] * gj[2],
                           -r[1] * gj[2], -r[1] * gj[0], -r[2] * gj[0], -r[2] * gj[1]};
      if (pair.vflag_global)
        for (int c = 0; c < 6; c++) pair.virial[c] += w[c];
      if (pair.vflag_atom) {
        double *to = away ? ghosts.row(j) + GhostRows::VIRIAL : pair.vatom[j];
        for (int c = 0; c < 6; c++) to[c] += w[c] - (c < 3 ? own : 0.0);
      }
      if (pair.cvflag_atom) {
        double *to = away ? ghosts.row(j) + GhostRows::CENTROID_VIRIAL : pair.cvatom[j];
        for (int c = 0; c < 9; c++) to[c] += w[c] - (c < 3 ? own : 0.0);
      }
    }
  }
}

double Grid::memory_usage() const
{
  return BlockStrategy::memory_usage() + block.memory_usage() + static_cast<double>(sizeof(int) * point_atoms.capacity()) +
      static_cast<double>(sizeof(int64_t) * (points.capacity() + point_end.capacity() + next.capacity()));
}

}    // namespace

std::unique_ptr<Strategy> LAMMPS_NS::make_grid(LAMMPS *lmp, PairJaxff &pair)
{
  return std::make_unique<Grid>(lmp, pair);
}
