#include "atom_errors.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "modify.h"
#include "pair_jaxff.h"
#include "update.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

using namespace LAMMPS_NS;

namespace {

constexpr const char *NAMES[] = {"uncertainty", "grade"};
int stores = 0;    // IDs given so far

}    // namespace

AtomErrors::AtomErrors(LAMMPS *lmp, PairJaxff &owner) : Pointers(lmp), pair(owner) {}

AtomErrors::~AtomErrors()
{
  if (file) fclose(file);
  if (!store.empty() && modify && modify->get_fix_by_id(store)) modify->delete_fix(store);
}

void AtomErrors::set(int n, const std::string &name)
{
  every = n;
  if (file) fclose(file);
  file = nullptr;
  path = name;
  known = lost = false;
}

void AtomErrors::check_known() const
{
  if (pair.file.empty()) error->all(FLERR, "pair_style jaxff has no potential yet; give its pair_coeff first");
  if (!pair.model.graded)
    error->all(FLERR, "pair_style jaxff: {} knows nothing of its errors; train it with training.heads=8 (the default), or "
               "ask for no uncertainty, grade, every or deviation", pair.file);
}

void AtomErrors::init_style()
{
  if (every || !path.empty()) check_known();
  // compute pair cannot ask in time.
  asked = pair.model.graded && (!path.empty() || !modify->get_compute_by_style("pair").empty());
  // Atoms may have been moved, added or removed since the last run.
  known = false;
  if (every > 1) keep_with_atoms();
  if (path.empty() || file || lost || comm->me) return;
  file = fopen(path.c_str(), "w");
  if (!file) error->one(FLERR, "pair_style jaxff cannot write the deviation file {}: {}", path, strerror(errno));
  fputs("# step uncertainty: max min mean grade: max min mean\n", file);
}

// Between two evaluations atoms change their places in LAMMPS's arrays; a property of theirs goes with them.

void AtomErrors::keep_with_atoms()
{
  if (!store.empty()) return;
  store = fmt::format("JAXFF_ERRORS_{}", stores++);
  modify->add_fix(fmt::format("{0} all property/atom d_{0}_uncertainty d_{0}_grade writedata no", store));
}

double *AtomErrors::column(int which)
{
  int flag, columns;
  const int index = atom->find_custom(fmt::format("{}_{}", store, NAMES[which]).c_str(), flag, columns);
  return index < 0 ? nullptr : atom->dvector[index];
}

void AtomErrors::begin()
{
  const bool triggered = triggers[UNCERTAINTY] || triggers[GRADE];
  active = pair.model.graded &&
      (every ? update->ntimestep % every == 0 || ((triggered || asked) && !known) : triggered || asked);
  if (!active) return;
  const int n = atom->nlocal + atom->nghost;
  grades.assign(atom->nlocal, 0.0);
  counts.assign(atom->nlocal, 0);
  sums.assign(SUMS * static_cast<size_t>(n), 0.0);
  for (int i = 0; i < n; i++)
    for (int c = 0; c < 3; c++) sums[SUMS * static_cast<size_t>(i) + FORCE + c] = atom->f[i][c];
}

void AtomErrors::finish()
{
  if (!active) return;
  active = false;
  known = true;
  const int nlocal = atom->nlocal;
  // Without newton, ghosts' forces are at home already, and what LAMMPS has in their place may be anything.
  const size_t last = force->newton_pair ? sums.size() / SUMS : nlocal;
  for (size_t i = 0; i < sums.size() / SUMS; i++)
    for (int c = 0; c < 3; c++) {
      double &part = sums[SUMS * i + FORCE + c];
      part = i < last ? atom->f[i][c] - part : 0.0;
    }
  adding = true;
  comm->reverse_comm(&pair, SUMS);
  adding = false;
  const JaxffModel &model = pair.model;
  const double to_force = pair.energy_unit / pair.distance_unit;
  const double least_force = model.smallest_force * to_force;
  // Forces are in LAMMPS's unit, and so shall the errors be: the power of the force brings one with it.
  const double scale = model.bar * std::pow(to_force, 1.0 - model.force_exponent);
  double most[COLUMNS] = {0.0, 0.0}, least[COLUMNS] = {HUGE_VAL, HUGE_VAL}, sum[COLUMNS + 1] = {0.0, 0.0, 0.0};
  errors.assign(nlocal, 0.0);
  for (int i = 0; i < nlocal; i++) {
    if (pair.species[atom->type[i]] < 0) continue;
    const double *f = &sums[SUMS * static_cast<size_t>(i)];
    const double square = f[0] * f[0] + f[1] * f[1] + f[2] * f[2] + least_force * least_force;
    const double around = counts[i] ? f[AROUND] / counts[i] : grades[i] * grades[i];
    const double reach = std::sqrt(0.5 * (grades[i] * grades[i] + around));
    errors[i] = scale * (reach < 1.0 ? std::pow(reach, model.grade_exponent) : reach) * std::pow(square, 0.5 * model.force_exponent);
    const double values[COLUMNS] = {errors[i], grades[i]};
    for (int c = 0; c < COLUMNS; c++) {
      most[c] = std::max(most[c], values[c]);
      least[c] = std::min(least[c], values[c]);
      sum[c] += values[c];
    }
    sum[COLUMNS] += 1.0;
  }
  double all[COLUMNS];
  MPI_Allreduce(most, all, COLUMNS, MPI_DOUBLE, MPI_MAX, world);
  // compute pair adds up what the ranks have.
  for (int c = 0; c < COLUMNS; c++) pair.pvector[c] = comm->me ? 0.0 : all[c];
  if (!path.empty()) {
    double lowest[COLUMNS], total[COLUMNS + 1];
    MPI_Reduce(least, lowest, COLUMNS, MPI_DOUBLE, MPI_MIN, 0, world);
    MPI_Reduce(sum, total, COLUMNS + 1, MPI_DOUBLE, MPI_SUM, 0, world);
    if (file) write(all, lowest, total, total[COLUMNS]);
  }
  if (store.empty()) return;
  double *kept[COLUMNS] = {column(UNCERTAINTY), column(GRADE)};
  if (kept[UNCERTAINTY]) std::copy(errors.begin(), errors.end(), kept[UNCERTAINTY]);
  if (kept[GRADE]) std::copy_n(grades.begin(), nlocal, kept[GRADE]);
}

// A full disk costs the file, not the run.

void AtomErrors::write(const double *most, const double *least, const double *sum, double n)
{
  if (n <= 0.0) return;
  const auto line = fmt::format("{} {:.8g} {:.8g} {:.8g} {:.8g} {:.8g} {:.8g}\n", update->ntimestep, most[0], least[0],
                                sum[0] / n, most[1], least[1], sum[1] / n);
  if (fputs(line.c_str(), file) >= 0 && fflush(file) == 0) return;
  error->warning(FLERR, "pair_style jaxff cannot write the deviation file {}: {}; it ends at step {}", path, strerror(errno),
                 update->ntimestep);
  fclose(file);
  file = nullptr;
  lost = true;    // opened again, it would lose what it has
}

int *AtomErrors::trigger(const std::string &name)
{
  for (int c = 0; c < COLUMNS; c++)
    if (name == std::string(NAMES[c]) + "_flag") {
      check_known();
      return &triggers[c];
    }
  return nullptr;
}

double *AtomErrors::values(const std::string &name)
{
  for (int c = 0; c < COLUMNS; c++) {
    if (name != NAMES[c]) continue;
    check_known();
    std::vector<double> &values = shown[c];
    const size_t n = std::max(atom->nlocal, 1);
    values.assign(n, 0.0);
    const double *from = store.empty() ? (c == GRADE ? grades.data() : errors.data()) : column(c);
    if (known && from && (!store.empty() || errors.size() == static_cast<size_t>(atom->nlocal)))
      std::copy_n(from, atom->nlocal, values.begin());
    return values.data();
  }
  return nullptr;
}

int AtomErrors::pack_reverse_comm(int n, int first, double *buf) const
{
  std::copy_n(&sums[SUMS * static_cast<size_t>(first)], SUMS * n, buf);
  return SUMS * n;
}

void AtomErrors::unpack_reverse_comm(int n, const int *indices, const double *buf)
{
  for (int m = 0; m < n; m++)
    for (int c = 0; c < SUMS; c++) sums[SUMS * static_cast<size_t>(indices[m]) + c] += *buf++;
}

double AtomErrors::memory_usage() const
{
  return sizeof(double) * static_cast<double>(grades.capacity() + errors.capacity() + sums.capacity()) +
      sizeof(int) * static_cast<double>(counts.capacity());
}
