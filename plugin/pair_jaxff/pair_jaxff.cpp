#include "pair_jaxff.h"

#include "atom.h"
#include "citeme.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "ghosts.h"
#include "memory.h"
#include "python_host.h"
#include "timer.h"
#include "universe.h"
#include "update.h"
#include "utils.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <unistd.h>

using namespace LAMMPS_NS;

namespace {

struct Unit {
  const char *style;
  double energy, distance;    // one eV and one Å in this style
};

// CODATA 2018: 1 eV = 23.0605478 kcal/mol = 1.602176634e-19 J = 1/27.211386245988 Ha; 1 Å = 1/0.529177210903 a0
constexpr Unit UNITS[] = {
    {"metal", 1.0, 1.0},
    {"real", 23.060547830619026, 1.0},
    {"si", 1.602176634e-19, 1.0e-10},
    {"electron", 1.0 / 27.211386245988, 1.0 / 0.529177210903},
};

// XLA's temporaries, a few MB a block, would be mapped and returned at each call: up to 120 page faults a block of 256
// atoms were counted, and none with this.
void keep_freed_memory()
{
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}

}    // namespace

PairJaxff::PairJaxff(LAMMPS *lmp) : Pair(lmp), errors(lmp, *this)
{
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  no_virial_fdotr_compute = 1;
  centroidstressflag = CENTROID_AVAIL;
  comm_reverse_off = GhostRows::ALL;
  comm_reverse = 4;    // AtomErrors
  set_defaults();
  select_units();
}

PairJaxff::~PairJaxff()
{
  close_model();
  delete[] pvector;
  pvector = nullptr;
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
    memory->destroy(cutghost);
  }
}

void PairJaxff::select_units()
{
  for (const auto &unit : UNITS)
    if (strcmp(update->unit_style, unit.style) == 0) {
      energy_unit = unit.energy;
      distance_unit = unit.distance;
      return;
    }
  error->all(FLERR, "pair_style jaxff cannot work in units {}; use metal, real, si or electron", update->unit_style);
}

void PairJaxff::set_defaults()
{
  precision = "single";
  device = exchange = "auto";
  threads = 0;
}

// pair_style jaxff [precision single|double] [device cpu|gpu|auto] [threads N] [exchange comm|halo|auto] [every N]
//                  [deviation FILE]

void PairJaxff::settings(int narg, char **arg)
{
  // Nothing stays of an earlier pair_style line: neither its keywords, nor a potential that was opened with them.
  set_defaults();
  close_model();
  int every = 0;
  std::string deviation;
  for (int i = 0; i < narg; i += 2) {
    std::string keyword = arg[i];
    if (keyword != "precision" && keyword != "device" && keyword != "threads" && keyword != "exchange" && keyword != "every" &&
        keyword != "deviation")
      error->all(FLERR, "pair_style jaxff has no keyword {}; it has precision, device, threads, exchange, every and deviation",
                 keyword);
    if (i + 1 == narg) error->all(FLERR, "pair_style jaxff keyword {} needs a value", keyword);
    std::string value = arg[i + 1];
    if (keyword == "precision") {
      if (value != "single" && value != "double")
        error->all(FLERR, "pair_style jaxff precision must be single or double, not {}", value);
      precision = value;
    } else if (keyword == "device") {
      if (value != "cpu" && value != "gpu" && value != "auto")
        error->all(FLERR, "pair_style jaxff device must be cpu, gpu or auto, not {}", value);
      device = value;
    } else if (keyword == "exchange") {
      if (value != "comm" && value != "halo" && value != "auto")
        error->all(FLERR, "pair_style jaxff exchange must be comm, halo or auto, not {}", value);
      exchange = value;
    } else if (keyword == "every") {
      every = utils::is_integer(value) ? atoi(value.c_str()) : 0;
      if (every < 1) error->all(FLERR, "pair_style jaxff every must be a positive number of steps, not {}", value);
    } else if (keyword == "deviation") {
      deviation = value;
    } else {
      threads = utils::is_integer(value) ? atoi(value.c_str()) : 0;
      if (threads < 1) error->all(FLERR, "pair_style jaxff threads must be a positive number, not {}", value);
    }
  }
  errors.set(every, deviation);
}

// pair_coeff * * file.jaxff El1 El2|NULL ...

void PairJaxff::coeff(int narg, char **arg)
{
  if (narg < 3 || strcmp(arg[0], "*") != 0 || strcmp(arg[1], "*") != 0)
    error->all(FLERR, "pair_style jaxff wants: pair_coeff * * file.jaxff, then an element or NULL for each atom type");
  open_model(arg[2], narg - 3, arg + 3);
  map_types(narg - 3, arg + 3);
}

// Which of a node's ranks this is, and how many there are, so that they take turns at its GPUs. No collective but of this
// partition: others may be elsewhere in their scripts. Their ranks count by their numbers in the universe, which give
// neighbouring numbers to a node.

PairJaxff::NodeRank PairJaxff::node_rank() const
{
  MPI_Comm node;
  NodeRank place;
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &place.rank);
  MPI_Comm_size(node, &place.ranks);
  MPI_Comm_free(&node);
  if (universe->nworlds > 1) {
    place.rank += universe->root_proc[universe->iworld];
    place.ranks = universe->nprocs;
  }
  return place;
}

void PairJaxff::open_model(const std::string &name, int narg, char **symbols)
{
  close_model();
  std::string found = utils::get_potential_file_path(name);
  file = found.empty() ? name : found;

  const NodeRank place = node_rank();
  keep_freed_memory();
  std::string message;
  python = jaxff::python_table(message);
  if (python) {
    std::string types;
    for (int i = 0; i < narg; i++) types += std::string(symbols[i]) + " ";
    JaxffSettings settings{file.c_str(), precision.c_str(), device.c_str(), types.c_str(), threads, place.ranks, place.rank};
    is_open = python->open(&settings, &model) == 0;
    if (!is_open) message = python->error;
  }

  // What fails on one rank stops all of them, with that rank's words.
  struct {
    int failed, rank;
  } mine{message.empty() ? 0 : 1, comm->me}, worst;
  MPI_Allreduce(&mine, &worst, 1, MPI_2INT, MPI_MAXLOC, world);
  if (worst.failed) {
    char text[1024] = "";
    strncpy(text, message.c_str(), sizeof(text) - 1);
    MPI_Bcast(text, sizeof(text), MPI_CHAR, worst.rank, world);
    error->all(FLERR, "pair_style jaxff: {}", text);
  }
  reference.assign(model.reference_energies, model.reference_energies + model.n_elements);
  report(model.banner);
  tell_needs();
  strategy = make_strategy(lmp, *this);
  // For compute pair: the largest uncertainty and grade.
  delete[] pvector;
  nextra = model.graded ? 2 : 0;
  // A compute pair of an earlier potential goes on reading.
  const double nothing = model.graded ? 0.0 : NAN;
  pvector = new double[2]{nothing, nothing};
  if (!strategy->note().empty()) report(strategy->note());
  centroidstressflag = strategy->gives_atom_virials() ? CENTROID_AVAIL : CENTROID_NOTAVAIL;
  if (lmp->citeme && model.citation[0])
    lmp->citeme->add(fmt::format("pair_style jaxff, potential {}:\n\n{}\n\n", name, model.citation));
}

// A hybrid style may have what is needed; alone, nothing has.

void PairJaxff::tell_needs()
{
  if (model.needs[0])
    report(fmt::format("{}pair_style jaxff: {} {}", force->pair == this ? "WARNING: " : "", file, model.needs));
}

// Until a potential is open again, LAMMPS says that pair_coeff is missing.

void PairJaxff::close_model()
{
  strategy.reset();
  if (is_open && python->alive) python->close(model.handle);
  is_open = false;
  file.clear();
  model.graded = 0;
  ghostneigh = 0;
  for (int i = 1; allocated && i <= atom->ntypes; i++)
    for (int j = 1; j <= atom->ntypes; j++) setflag[i][j] = 0;
}

void PairJaxff::map_types(int narg, char **arg)
{
  const int ntypes = atom->ntypes;
  if (narg != ntypes)
    error->all(FLERR, "pair_coeff for pair_style jaxff gives {} element name{}, but there {} {} atom type{}; "
               "name an element of {} ({}) or NULL for each", narg, narg == 1 ? "" : "s", ntypes == 1 ? "is" : "are",
               ntypes, ntypes == 1 ? "" : "s", file, model.elements);
  auto elements = utils::split_words(model.elements);
  species.assign(ntypes + 1, -1);
  for (int type = 1; type <= ntypes; type++) {
    std::string name = arg[type - 1];
    if (name == "NULL") continue;
    auto at = std::find(elements.begin(), elements.end(), name);
    if (at == elements.end())
      error->all(FLERR, "pair_style jaxff: {} has no element {}; it has {}, and NULL leaves a type out", file, name,
                 model.elements);
    species[type] = at - elements.begin();
  }

  if (!allocated) {
    memory->create(setflag, ntypes + 1, ntypes + 1, "pair:setflag");
    memory->create(cutsq, ntypes + 1, ntypes + 1, "pair:cutsq");
    memory->create(cutghost, ntypes + 1, ntypes + 1, "pair:cutghost");
    allocated = 1;
  }
  // On its own, this style answers for every pair of types (NULL: no interaction); in a hybrid, others may.
  const bool alone = force->pair == this;
  for (int i = 1; i <= ntypes; i++)
    for (int j = 1; j <= ntypes; j++) setflag[i][j] = alone || (species[i] >= 0 && species[j] >= 0);
}

void PairJaxff::init_style()
{
  if (!atom->tag_enable) error->all(FLERR, "pair_style jaxff needs atom IDs; remove `atom_modify id no`");
  select_units();
  strategy->init_style();
  errors.init_style();
}

double PairJaxff::init_one(int i, int j)
{
  cutghost[i][j] = cutghost[j][i] = model.cutoff * distance_unit;
  return model.cutoff * distance_unit;
}

void PairJaxff::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  errors.begin();
  strategy->compute();
  errors.finish();
}

void *PairJaxff::extract(const char *name, int &dim)
{
  dim = 0;
  return errors.trigger(name);
}

void *PairJaxff::extract_peratom(const char *name, int &columns)
{
  columns = 0;
  return errors.values(name);
}

int PairJaxff::pack_forward_comm(int n, int *indices, double *buf, int, int *)
{
  return strategy->pack_forward_comm(n, indices, buf);
}

void PairJaxff::unpack_forward_comm(int n, int first, double *buf)
{
  strategy->unpack_forward_comm(n, first, buf);
}

int PairJaxff::pack_reverse_comm(int n, int first, double *buf)
{
  return errors.in_use() ? errors.pack_reverse_comm(n, first, buf) : strategy->pack_reverse_comm(n, first, buf);
}

void PairJaxff::unpack_reverse_comm(int n, int *indices, double *buf)
{
  if (errors.in_use())
    errors.unpack_reverse_comm(n, indices, buf);
  else
    strategy->unpack_reverse_comm(n, indices, buf);
}

void PairJaxff::require(int status)
{
  if (status) stop(python->error);
}

// error->one ends all ranks, but whatever is wrong mostly meets several of them at once, and each would tell. They wait in
// turn for the one before to speak. And mpirun ends with the first rank that aborts: what that rank printed has to be
// on its way by then.

void PairJaxff::stop(const std::string &message)
{
  usleep(static_cast<useconds_t>(4.0e6 * comm->me / comm->nprocs));
  try {
    error->one(FLERR, "pair_style jaxff: {}", message);
  } catch (...) {
    fflush(nullptr);
    if (comm->nprocs > 1) usleep(500000);
    throw;
  }
}

void PairJaxff::report(const std::string &text)
{
  if (comm->me == 0) utils::logmesg(lmp, text + "\n");
}

void PairJaxff::account(double gather, double model, double scatter, int compiled, double n_centers)
{
  if (compiled != compilations)
    seconds_compile += scatter - model;
  else {
    seconds_gather += model - gather;
    seconds_model += scatter - model;
    seconds_scatter += MPI_Wtime() - scatter;
    evaluated += n_centers;
  }
  compilations = compiled;
}

// End of a run: how often the model was compiled, and where the time went.

void PairJaxff::finish()
{
  enum { NEIGHBORS, GATHER, MODEL, SCATTER, COMPILE, CENTERS, ITEMS };
  double mine[ITEMS] = {timer->get_wall(Timer::NEIGH), seconds_gather, seconds_model, seconds_scatter, seconds_compile, evaluated};
  double sum[ITEMS];
  MPI_Reduce(mine, sum, ITEMS, MPI_DOUBLE, MPI_SUM, 0, world);
  int most = 0;
  MPI_Reduce(&compilations, &most, 1, MPI_INT, MPI_MAX, 0, world);
  double total = sum[NEIGHBORS] + sum[GATHER] + sum[MODEL] + sum[SCATTER];
  if (comm->me == 0 && sum[CENTERS] > 0)
    report(fmt::format("\npair_style jaxff: {:.2f} us/atom/step: neighbours {:.1f}%, gather {:.1f}%, model {:.1f}%, scatter {:.1f}%; "
                       "compiled {} time{} so far, {:.2f} s in this run",
                       1e6 * total / sum[CENTERS], 100 * sum[NEIGHBORS] / total, 100 * sum[GATHER] / total,
                       100 * sum[MODEL] / total, 100 * sum[SCATTER] / total, most, most == 1 ? "" : "s",
                       sum[COMPILE] / comm->nprocs));
  seconds_gather = seconds_model = seconds_scatter = seconds_compile = evaluated = 0;
}

double PairJaxff::memory_usage()
{
  return Pair::memory_usage() + errors.memory_usage() + (strategy ? strategy->memory_usage() : 0.0);
}
