// Holds every row of the kernel table that this processor can run to the reference row, without Python: each slot on
// awkward sizes, then whole forward passes. Needed where no Python is at hand (a cross build under an emulator).
//
//     rows [ROW ...]    without arguments all rows that can run here but the reference itself
//
// Exit status 1 when something differs, 2 when a row asked for cannot run here.
#include "check.h"

using namespace understudy;

int main(int count, char** names) {
  int num_rows;
  const Kernels* const* available = available_kernels(&num_rows);
  std::vector<const Kernels*> rows;
  if (count == 1) rows.assign(available + 1, available + num_rows);
  for (int i = 1; i < count; ++i) {
    const Kernels* row = find_kernels(names[i]);
    if (row == nullptr) {
      std::fprintf(stderr, "no row named %s on this processor\n", names[i]);
      return 2;
    }
    rows.push_back(row);
  }
  for (const Kernels* row : rows) {
    const int64_t before = test::Check::total_failures();
    test::check_slots(*row);
    test::check_forward(*row);
    std::printf("%s: %s\n", row->name, test::Check::total_failures() == before ? "as the reference" : "DIFFERS");
  }
  std::printf("%lld comparisons, %lld failures\n", static_cast<long long>(test::Check::total_comparisons()),
              static_cast<long long>(test::Check::total_failures()));
  return test::Check::total_failures() == 0 ? 0 : 1;
}
