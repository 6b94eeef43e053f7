// No Python header and no link to libpython: one build serves every Python, and when LAMMPS already runs inside
// Python nothing is embedded at all. The handful of functions needed are looked up by name.

#include "python_host.h"

#include <climits>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <unistd.h>
#include <vector>

namespace {

std::string environment(const char *name)
{
  const char *value = getenv(name);
  return value ? value : "";
}

std::string parent(const std::string &path)
{
  auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::string resolved(const std::string &path)
{
  char real[PATH_MAX];
  return realpath(path.c_str(), real) ? real : path;
}

template <typename Function> Function *symbol(const char *name)
{
  return reinterpret_cast<Function *>(dlsym(RTLD_DEFAULT, name));
}

// <prefix>/lib/python3.X/site-packages/jaxff/lammps/jaxffplugin.so tells the environment this file belongs to.
struct Installation {
  std::string prefix, version;
};

Installation installation()
{
  Dl_info info;
  if (!dladdr(reinterpret_cast<void *>(&installation), &info) || !info.dli_fname) return {};
  std::string path = resolved(info.dli_fname);
  auto at = path.rfind("/lib/python3.");
  if (at == std::string::npos) return {};
  auto start = at + strlen("/lib/python");
  return {path.substr(0, at), path.substr(start, path.find('/', start) - start)};
}

// bin/python of a virtual environment is in the end a link to the interpreter that has the library beside it.
bool open_libpython(const std::string &python, std::string version, std::string &error)
{
  std::string interpreter = resolved(python);
  auto name = interpreter.rfind("/python3.");
  if (version.empty() && name != std::string::npos) version = interpreter.substr(name + strlen("/python"));

  std::vector<std::string> candidates;
  std::string given = environment("JAXFF_LIBPYTHON");
  if (!given.empty()) candidates.push_back(given);
  if (!version.empty()) {
    std::string base = parent(parent(interpreter));
    for (const char *ending : {".so.1.0", ".so"}) {
      candidates.push_back(base + "/lib/libpython" + version + ending);
      candidates.push_back("libpython" + version + ending);
    }
  }
  std::string tried;
  for (const auto &candidate : candidates) {
    // RTLD_GLOBAL: NumPy's and jaxlib's extension modules take Python's symbols from here
    if (dlopen(candidate.c_str(), RTLD_NOW | RTLD_GLOBAL)) return true;
    tried += (tried.empty() ? "" : ", ") + candidate;
  }
  error = "no shared libpython could be opened (" + (tried.empty() ? "none is known" : "tried " + tried) +
      "); run this input with `jaxff lmp -in ...` instead, or set JAXFF_LIBPYTHON to the library of the Python that "
      "has jaxff";
  return false;
}

bool start_interpreter(std::string &error)
{
  Installation here = installation();
  std::string python = environment("JAXFF_PYTHON");
  if (python.empty() && !here.prefix.empty()) python = here.prefix + "/bin/python3";
  if (!symbol<int()>("Py_IsInitialized") && !open_libpython(python, here.version, error)) return false;

  // An embedded interpreter looks for "python3" on PATH to learn its environment (pyvenv.cfg lies next to it):
  // unlike Py_SetProgramName this works in every version.
  std::string path = environment("PATH");
  if (!python.empty()) setenv("PATH", (parent(python) + ":" + path).c_str(), 1);
  auto initialize = symbol<void(int)>("Py_InitializeEx");
  auto save_thread = symbol<void *()>("PyEval_SaveThread");
  if (!initialize || !save_thread) {
    error = "the libpython that was opened lacks Py_InitializeEx";
    return false;
  }
  initialize(0);    // 0: LAMMPS keeps its signal handlers
  save_thread();    // gives the GIL up; the callbacks take it
  setenv("PATH", path.c_str(), 1);
  return true;
}

}    // namespace

JaxffTable *jaxff::python_table(std::string &error)
{
  static JaxffTable *table = nullptr;
  if (table && table->alive) return table;
  auto running = symbol<int()>("Py_IsInitialized");
  if ((!running || !running()) && !start_interpreter(error)) return nullptr;

  auto ensure = symbol<int()>("PyGILState_Ensure");
  auto release = symbol<void(int)>("PyGILState_Release");
  auto run = symbol<int(const char *)>("PyRun_SimpleString");
  if (!ensure || !release || !run) {
    error = "the running Python lacks PyRun_SimpleString";
    return nullptr;
  }
  char text[1024] = "";
  auto address = [](void *pointer) { return std::to_string(reinterpret_cast<uintptr_t>(pointer)); };
  // exec in a dictionary of its own: __main__ belongs to the user
  std::string code = "exec('''\n"
                     "try:\n"
                     "    from jaxff.lammps.pair_jaxff import bridge\n"
                     "    bridge.install(" + address(&table) + ", " + std::to_string(JAXFF_ABI) + ")\n"
                     "except BaseException as error:\n"
                     "    import ctypes, sys\n"
                     "    text = f'{type(error).__name__}: {error} (Python: {sys.executable})'.encode()[:1000] + bytes(1)\n"
                     "    ctypes.memmove(" + address(text) + ", text, len(text))\n"
                     "''', {})\n";
  int gil = ensure();
  int status = run(code.c_str());
  release(gil);
  if (status == 0 && table && !text[0]) return table;
  error = std::string("Python cannot load jaxff.lammps.pair_jaxff.bridge: ") + (text[0] ? text : "see the traceback above");
  table = nullptr;
  return nullptr;
}
