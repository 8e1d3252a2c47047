#include "base/frame.h"
