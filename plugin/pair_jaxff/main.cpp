// `jaxff lmp`: the main function of LAMMPS's own executable, callable from a Python process.

#include "exceptions.h"
#include "input.h"
#include "lammps.h"

#include <cstdio>
#include <mpi.h>

using namespace LAMMPS_NS;

extern "C" __attribute__((visibility("default"))) int jaxff_main(int argc, char **argv)
{
  MPI_Init(&argc, &argv);
  int status = 0;
  try {
    auto *lammps = new LAMMPS(argc, argv, MPI_COMM_WORLD);
    lammps->input->file();
    delete lammps;
  } catch (LAMMPSAbortException &error) {
    MPI_Abort(error.get_universe(), 1);
  } catch (LAMMPSException &) {
    status = 1;    // LAMMPS has printed its message, and every rank is here
  } catch (std::exception &error) {
    fprintf(stderr, "ERROR: %s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  if (status == 0) MPI_Barrier(MPI_COMM_WORLD);
  MPI_Finalize();
  return status;
}
